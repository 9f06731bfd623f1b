"""The closed vocabulary: every name, title and number that a seed may put on a screen."""

from __future__ import annotations

PEOPLE = tuple(
    "Anna Ben Carla David Emma Felix Grace Hugo Iris Jonas Kira Leo Maria Noah Olga Paul "
    "Rosa Sam Tina Victor Wendy Yara Zoe Adam Bella Carl Dora Eric Fiona Greg Hanna Ivan".split()
)
THINGS = tuple(
    "Bridge Candle Castle Desert Engine Forest Garden Guitar Hammer Island Jacket Kitchen Ladder Mirror Needle Ocean "
    "Pencil Piano Rocket River Saddle Tiger Ticket Violin Wagon Window Basket Camera Dragon Eagle Feather Harbor "
    "Jungle Lantern Marble Orange Parrot Rabbit Silver Tunnel".split()
)
PRODUCTS = tuple(
    "Apple Bread Butter Cheese Coffee Cookie Flour Honey Lemon Milk Noodle Onion Pasta Pepper Potato Rice Salt "
    "Soap Sugar Tea Tomato Water".split()
)
EVENTS = tuple(
    "Ballet Chess Concert Dentist Dinner Doctor Football Haircut Lunch Meeting Museum Party Picnic Race Tennis "
    "Theater Wedding Yoga".split()
)
FOLDERS = ("Work", "Home", "School", "Travel")
ALBUMS = ("Family", "Summer", "Winter", "Travel")
DAYS = ("Monday", "Tuesday", "Wednesday", "Thursday", "Friday")
TIMES = tuple(f"{hour}:{minute}" for hour in range(6, 22) for minute in ("00", "30"))
CODES = tuple(str(137 + 23 * k) for k in range(37))
"""Three-digit codes and phone numbers, 137 to 965."""
PRICES = tuple(str(n) for n in range(11, 60, 2))
ABSENT_OPTIONS = ("Radio", "Sensor", "Antenna", "Zoom", "Laser", "Printer")
"""Labels that no app has, for tasks that are impossible."""

POPUPS = (
    ("Update available", "Later", "Install"),
    ("Battery low", "OK", None),
    ("Rate this app", "Skip", "Rate"),
    ("Storage full", "Later", "Clean"),
    ("Allow location", "Deny", "Allow"),
    ("New version", "OK", None),
)
"""(title, label that dismisses, label of the other button): what appears by chance."""

TIPS = ("Swipe to see more", "Hold a row for more", "Back up often", "Tap to open")
