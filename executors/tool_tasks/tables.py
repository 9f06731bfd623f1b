"""Templates over tables and texts: read files, calculate, answer."""

from __future__ import annotations

import random
import re

from executors.tool_tasks.base import Move, Plan, Solution, ToolTemplate, call
from executors.tool_tasks.making import (
    CITIES,
    GOODS,
    PEOPLE,
    WORDS,
    csv_file,
    docx_file,
    priced,
    table_of,
    xlsx_file,
    zip_file,
)


def read(name: str, thought: str = "") -> Move:
    """The move that reads a file."""
    return call("FileInspector", f"read {name}", thought, file_path=name)


def calculate(expression: str, instruction: str, thought: str = "") -> Move:
    """The move that calculates."""
    return call("Calculator", instruction, thought, expression=expression)


def number_in(text: str) -> str:
    """The first whole number of a text; raises ValueError without one."""
    found = re.search(r"\d+", text)
    if found is None:
        raise ValueError(f"no number in {text!r}")
    return found[0]


def _prices_file(prices: dict[str, int]) -> bytes:
    return csv_file(("name", "price"), *prices.items())


def price_of_many(rng: random.Random) -> Plan:
    """What several of one thing cost."""
    prices, count = priced(rng, 5), rng.randint(2, 9)
    item = rng.choice(list(prices))

    def solve() -> Solution:
        price = table_of((yield read("prices.csv")))[item][0]
        return (yield calculate(f"{price} * {count}", f"multiply the price of {item} by {count}", f"{item} {price}"))

    goal = rng.choice((f"What do {count} {item} cost? See prices.csv.",
                       f"Find the cost of {count} {item} in prices.csv."))
    return Plan(goal=goal, files={"prices.csv": _prices_file(prices)}, answer=str(prices[item] * count), solve=solve)


def basket(rng: random.Random) -> Plan:
    """What two things cost together."""
    prices = priced(rng, 5)
    (one, other), (few, many) = rng.sample(list(prices), 2), (rng.randint(2, 9), rng.randint(2, 9))

    def solve() -> Solution:
        rows = table_of((yield read("prices.csv")))
        a, b = rows[one][0], rows[other][0]
        return (yield calculate(f"{few} * {a} + {many} * {b}", f"add up {few} {one} and {many} {other}",
                                f"{one} {a} , {other} {b}"))

    return Plan(
        goal=f"What do {few} {one} and {many} {other} cost together? See prices.csv.",
        files={"prices.csv": _prices_file(prices)}, answer=str(few * prices[one] + many * prices[other]), solve=solve,
    )  # fmt: skip


def stock_value(rng: random.Random) -> Plan:
    """What all of one thing in stock is worth: prices in one file, counts in another."""
    prices = priced(rng, 4)
    stock = {name: rng.randint(2, 40) for name in rng.sample(list(prices), len(prices))}
    item = rng.choice(list(prices))

    def solve() -> Solution:
        price = table_of((yield read("prices.csv")))[item][0]
        count = table_of((yield read("stock.xlsx", f"{item} {price}")))[item][0]
        return (yield calculate(f"{price} * {count}", f"multiply price and stock of {item}",
                                f"{item} {price} , stock {count}"))

    return Plan(
        goal=f"What is all {item} in stock worth? See prices.csv and stock.xlsx.",
        files={"prices.csv": _prices_file(prices), "stock.xlsx": xlsx_file("stock", ("name", "count"), *stock.items())},
        answer=str(prices[item] * stock[item]), solve=solve,
    )  # fmt: skip


def column_total(rng: random.Random) -> Plan:
    """The sum of a column."""
    hours = {name: rng.randint(1, 40) for name in rng.sample(PEOPLE, 4)}

    def solve() -> Solution:
        rows = table_of((yield read("hours.xlsx")))
        values = [row[0] for name, row in rows.items() if name != "name"]
        return (yield calculate(" + ".join(values), "add up the hours", " , ".join(values)))

    return Plan(
        goal=rng.choice(("How many hours are in hours.xlsx in total?", "Add up all hours of hours.xlsx.")),
        files={"hours.xlsx": xlsx_file("hours", ("name", "hours"), *hours.items())},
        answer=str(sum(hours.values())), solve=solve,
    )  # fmt: skip


def best_row(rng: random.Random) -> Plan:
    """Whose number is the largest."""
    points = dict(zip(rng.sample(PEOPLE, 5), rng.sample(range(10, 100), 5)))

    def solve() -> Solution:
        rows = table_of((yield read("score.csv")))
        return max((name for name in rows if name != "name"), key=lambda name: int(rows[name][0]))

    return Plan(
        goal=rng.choice(("Who has the most points in score.csv?", "Name the winner of score.csv.")),
        files={"score.csv": csv_file(("name", "points"), *points.items())},
        answer=max(points, key=points.get), solve=solve,
    )  # fmt: skip


def warmer(rng: random.Random) -> Plan:
    """How much larger one number of a table is than another."""
    degrees = dict(zip(rng.sample(CITIES, 5), rng.sample(range(1, 40), 5)))
    cold, warm = sorted(rng.sample(list(degrees), 2), key=degrees.get)

    def solve() -> Solution:
        rows = table_of((yield read("weather.csv")))
        high, low = rows[warm][0], rows[cold][0]
        return (yield calculate(f"{high} - {low}", f"subtract {cold} from {warm}", f"{warm} {high} , {cold} {low}"))

    return Plan(
        goal=f"How many degrees warmer is {warm} than {cold}? See weather.csv.",
        files={"weather.csv": csv_file(("city", "degrees"), *degrees.items())},
        answer=str(degrees[warm] - degrees[cold]), solve=solve,
    )  # fmt: skip


def note_then_table(rng: random.Random) -> Plan:
    """A note says what to look up."""
    prices, count = priced(rng, 5), rng.randint(2, 9)
    item = rng.choice(list(prices))

    def solve() -> Solution:
        words = (yield read("note.txt")).split()
        wanted, thing = words[1], words[2].removesuffix(".")
        price = table_of((yield read("prices.csv", f"buy {wanted} {thing}")))[thing][0]
        return (yield calculate(f"{price} * {wanted}", "multiply price and number", f"{wanted} {thing} , {price} each"))

    return Plan(
        goal="What does the order in note.txt cost? See prices.csv.",
        files={"note.txt": f"Buy {count} {item}.".encode(), "prices.csv": _prices_file(prices)},
        answer=str(prices[item] * count), solve=solve,
    )  # fmt: skip


def largest_in_archive(rng: random.Random) -> Plan:
    """Which file of an archive is the largest."""
    sizes = dict(zip((f"{word}.txt" for word in rng.sample(WORDS, 4)), rng.sample(range(100, 1000), 4)))

    def solve() -> Solution:
        text = yield read("pack.zip")
        listed = {name: int(size) for name, size in re.findall(r"^(\S+) \((\d+) bytes\)$", text, re.MULTILINE)}
        return max(listed, key=listed.get)

    return Plan(goal=rng.choice(("Which file in pack.zip is the largest?", "Name the largest file of pack.zip.")),
                files={"pack.zip": zip_file(sizes)}, answer=max(sizes, key=sizes.get), solve=solve)


def count_rows(rng: random.Random) -> Plan:
    """How many rows pass a limit: by code."""
    limit = rng.randint(3, 8) * 10
    amounts = [(rng.choice(GOODS), rng.randint(1, 99)) for _ in range(30)]
    code = (f"import csv\nrows = csv.DictReader(open('orders.csv'))\n"
            f"print(sum(int(row['amount']) > {limit} for row in rows))")

    def solve() -> Solution:
        return (yield call("python", f"count the rows above {limit}", code=code)).strip()

    return Plan(goal=f"How many rows of orders.csv have an amount above {limit}?",
                files={"orders.csv": csv_file(("name", "amount"), *amounts)},
                answer=str(sum(amount > limit for _, amount in amounts)), solve=solve)


def solve_rule(rng: random.Random) -> Plan:
    """An equation in a file."""
    factor, root, rest = rng.randint(2, 9), rng.randint(2, 20), rng.randint(1, 30)
    rule = f"{factor} * x + {rest} = {factor * root + rest}"

    def solve() -> Solution:
        left, _, right = (yield read("rule.txt")).partition(" = ")
        code = f"def solution():\n    x = symbols('x')\n    return str(solve(Eq({left}, {int(right)}), x)[0])"
        return (yield call("Solver", "solve for x", f"{left} = {int(right)}", command=code)).strip()

    return Plan(goal=rng.choice(("What is x in rule.txt?", "Solve the equation in rule.txt for x.")),
                files={"rule.txt": rule.encode()}, answer=str(root), solve=solve)


def group_trip(rng: random.Random) -> Plan:
    """Three files and two calculations."""
    prices = {name: rng.randint(5, 30) for name in rng.sample(("museum", "castle", "zoo", "tower", "garden"), 4)}
    place, people, discount = rng.choice(list(prices)), rng.randint(3, 12), rng.randint(2, 14)

    def solve() -> Solution:
        count = number_in((yield read("group.txt")))
        price = table_of((yield read("tickets.csv", f"{count} people")))[place][0]
        known = f"{count} people , {place} {price}"
        total = yield calculate(f"{count} * {price}", f"multiply people and {place} price", known)
        less = number_in((yield read("coupon.txt", f"total {total}")))
        return (yield calculate(f"{total} - {less}", "subtract the discount", f"total {total} , less {less}"))

    return Plan(
        goal=f"What does the group of group.txt pay for the {place}? See tickets.csv, then subtract coupon.txt.",
        files={"group.txt": f"The group has {people} people.".encode(),
               "tickets.csv": csv_file(("place", "price"), *prices.items()),
               "coupon.txt": f"The discount is {discount}.".encode()},
        answer=str(people * prices[place] - discount), solve=solve,
    )  # fmt: skip


def price_gap(rng: random.Random) -> Plan:
    """How much more one thing costs than another, in a workbook."""
    prices = dict(zip(rng.sample(GOODS, 5), rng.sample(range(2, 90), 5)))
    cheap, dear = sorted(rng.sample(list(prices), 2), key=prices.get)

    def solve() -> Solution:
        rows = table_of((yield read("shop.xlsx")))
        high, low = rows[dear][0], rows[cheap][0]
        return (yield calculate(f"{high} - {low}", f"subtract {cheap} from {dear}", f"{dear} {high} , {cheap} {low}"))

    return Plan(
        goal=f"How much more does {dear} cost than {cheap}? See shop.xlsx.",
        files={"shop.xlsx": xlsx_file("shop", ("name", "price"), *prices.items())},
        answer=str(prices[dear] - prices[cheap]), solve=solve,
    )  # fmt: skip


def letter_hours(rng: random.Random) -> Plan:
    """Times in a text document."""
    opens, closes, days = rng.randint(7, 11), rng.randint(15, 21), rng.randint(3, 6)

    def solve() -> Solution:
        first, last, count = re.findall(r"\d+", (yield read("letter.docx")))
        return (yield calculate(f"({last} - {first}) * {count}", "multiply hours and days",
                                f"{first} to {last} , {count} days"))

    return Plan(
        goal="How many hours a week is the shop of letter.docx open?",
        files={"letter.docx": docx_file("Dear customer,", f"we open at {opens} and close at {closes}.",
                                        f"We work {days} days a week.")},
        answer=str((closes - opens) * days), solve=solve,
    )  # fmt: skip


TEMPLATES = (
    ToolTemplate(name="price_of_many", num_calls=2, make=price_of_many),
    ToolTemplate(name="basket", num_calls=2, make=basket),
    ToolTemplate(name="stock_value", num_calls=3, make=stock_value, needs=("openpyxl",)),
    ToolTemplate(name="column_total", num_calls=2, make=column_total, needs=("openpyxl",)),
    ToolTemplate(name="best_row", num_calls=1, make=best_row),
    ToolTemplate(name="warmer", num_calls=2, make=warmer),
    ToolTemplate(name="note_then_table", num_calls=3, make=note_then_table),
    ToolTemplate(name="largest_in_archive", num_calls=1, make=largest_in_archive),
    ToolTemplate(name="count_rows", num_calls=1, make=count_rows, needs=("sandbox",)),
    ToolTemplate(name="solve_rule", num_calls=2, make=solve_rule, needs=("sandbox", "sympy")),
    ToolTemplate(name="group_trip", num_calls=5, make=group_trip),
    ToolTemplate(name="price_gap", num_calls=2, make=price_gap, kind="task_unseen", needs=("openpyxl",)),
    ToolTemplate(name="letter_hours", num_calls=2, make=letter_hours, kind="task_unseen", needs=("docx",)),
)
