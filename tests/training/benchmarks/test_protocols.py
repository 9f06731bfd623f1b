"""The protocols: golden cases, upstream's quirks and their strict variants, the oracle's ceiling on real samples."""

from __future__ import annotations

import json
import math
from collections import Counter
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from executors.actions import ACTIONS, DIRECTIONS, Action, ArgKind
from executors.errors import InputError
from executors.geometry import BoxNorm, ImageSize, PointNorm
from executors.trajectory import Element
from training.benchmarks.metrics import score_all, summarise
from training.benchmarks.protocols import PROTOCOLS, Outcome, Prediction, ReferenceStep, get_protocol
from training.benchmarks.references import by_id, read_references
from training.benchmarks.reports import summary_text

PHONE = ImageSize(1080, 2400)


def at(x: float, y: float) -> PointNorm:
    """A point given in thousandths, as OS-Atlas writes them."""
    return PointNorm(x / 1000, y / 1000)


def click(x: float, y: float) -> Action:
    return Action(type="click", point=at(x, y))


def hold(x: float, y: float) -> Action:
    return Action(type="long_press", point=at(x, y))


def app(name: str) -> Action:
    return Action(type="open_app", app_name=name)


def typed(text: str) -> Action:
    return Action(type="type", content=text)


def scroll(direction: str) -> Action:
    return Action(type="scroll", direction=direction)


def reference(action: Action, dataset: str = "android_control", **more) -> ReferenceStep:
    return ReferenceStep(id="1/0", episode="1", index=0, dataset=dataset, action=action, image_size=PHONE, **more)


def verdict(protocol: str, wanted: Action | ReferenceStep, predicted: Action | None):
    step = wanted if isinstance(wanted, ReferenceStep) else reference(wanted)
    score = get_protocol(protocol).score(step, Prediction.of(predicted))
    return score.is_type_right, score.success, score.grounding


@pytest.mark.parametrize(
    ("wanted", "predicted", "expected"),
    [
        # Source: the golden cases of OS-Atlas's rules, thousandths of the screen.
        (click(500, 500), click(598, 598), (True, 1.0, 1.0)),  # distance 138.6
        (click(500, 500), click(600, 600), (True, 0.0, 0.0)),  # 141.4
        (click(500, 500), click(640, 500), (True, 1.0, 1.0)),  # 140, and the edge counts
        (click(500, 500), click(641, 500), (True, 0.0, 0.0)),
        (typed("hello world"), typed("Hello there"), (True, 1.0, None)),
        (typed("hello world"), typed("goodbye world"), (True, 0.0, None)),
        (typed("hello world"), typed(""), (True, 0.0, None)),
        (scroll("down"), scroll("up"), (True, 0.0, None)),
        (scroll("down"), scroll("down"), (True, 1.0, None)),
        (click(500, 500), hold(500, 500), (False, 0.0, None)),
        (hold(500, 500), hold(500, 600), (True, 1.0, None)),
        (app("Zoho Meet"), app("zoho mail"), (True, 1.0, None)),
        (app("Zoho"), app("Zoho Meet"), (True, 0.0, None)),  # "[zoho]" is not "[zoho"
        (Action(type="press_back"), Action(type="press_back"), (True, 1.0, None)),
        (Action(type="press_back"), Action(type="press_home"), (False, 0.0, None)),
        (Action(type="wait"), None, (False, 0.0, None)),
        (click(500, 500), Action(type="click"), (True, 0.0, 0.0)),
    ],
)  # fmt: skip
def test_osatlas_golden_cases(wanted, predicted, expected):
    assert verdict("osatlas", wanted, predicted) == expected


@pytest.mark.parametrize(
    ("wanted", "predicted", "lenient", "strict"),
    [
        (typed("red plums"), typed("plums"), 1.0, 0.0),  # the verb is a word in common: F1 of 2/3 and more
        (click(50, 50), Action(type="click"), 1.0, 0.0),  # no point counts as (0, 0)
        (Action(type="finished"), Action(type="finished", content="done"), 1.0, 1.0),
        (typed("red plums"), typed("RED plums "), 1.0, 1.0),
    ],
)
def test_osatlas_on_gui_odyssey_keeps_upstreams_quirks_and_the_strict_variant_none(wanted, predicted, lenient, strict):
    step = reference(wanted, "gui_odyssey")
    assert verdict("osatlas", step, predicted)[1] == lenient
    assert verdict("osatlas_strict", step, predicted)[1] == strict


def test_osatlas_long_presses_of_gui_odyssey_count_in_groundings_denominator_only():
    step = reference(hold(500, 500), "gui_odyssey")
    assert verdict("osatlas", step, step.action) == (True, 1.0, 0.0)
    assert verdict("osatlas_strict", step, step.action) == (True, 1.0, 1.0)


def test_osatlas_strict_wants_the_whole_text():
    assert verdict("osatlas_strict", typed("hello world"), typed("Hello there"))[1] == 0.0
    assert verdict("osatlas_strict", typed("hello world"), typed(" Hello World"))[1] == 1.0


def test_osatlas_leaves_out_absent_episodes_and_an_added_end():
    includes = PROTOCOLS["osatlas"].includes
    step = reference(click(1, 1))
    assert includes(replace(step, episode="android_control/44"))
    assert not includes(replace(step, episode="android_control/45"))
    assert not includes(replace(step, episode="44", action=Action(type="finished")))
    assert includes(replace(step, episode="45", dataset="gui_odyssey", action=Action(type="finished")))


@pytest.mark.parametrize(
    ("wanted", "predicted", "expected"),
    [
        (click(500, 500), click(640, 500), 1.0),
        (click(500, 500), click(641, 500), 0.0),
        (typed("cats and dogs"), typed("dogs"), 1.0),  # one inside the other
        (typed("abcd"), typed("abxy"), 1.0),  # similarity 0.5
        (typed("abcd"), typed("axyz"), 0.0),
        (typed("Abcd"), typed("aBCD"), 0.0),  # case counts
        (typed("10:30"), typed("10:45"), 1.0),  # cut at the first colon: "10" lies in "10:30"
        (typed("https"), typed(": no"), 1.0),  # nothing is left before the colon, and nothing lies in everything
        (scroll("left"), scroll("left"), 1.0),
        (Action(type="press_appselect"), Action(type="press_appselect"), 1.0),
        (Action(type="call_user"), Action(type="finished"), 0.0),
    ],
)
def test_odyssey_ams(wanted, predicted, expected):
    assert verdict("odyssey_ams", reference(wanted, "gui_odyssey"), predicted)[1] == expected


def test_odyssey_ams_takes_the_box_and_calls_an_empty_one_wrong():
    far = reference(click(500, 500), "gui_odyssey", boxes=(BoxNorm(0.0, 0.0, 1.0, 0.1),))
    assert verdict("odyssey_ams", far, click(990, 50)) == (True, 1.0, 1.0)
    empty = replace(far, boxes=())
    assert verdict("odyssey_ams", empty, click(500, 500))[1] == 0.0
    assert verdict("odyssey_ams_strict", empty, click(500, 500))[1] == 1.0


@pytest.mark.parametrize(
    ("predicted", "lenient", "strict"),
    [
        (click(500, 500), 1.0, 1.0),
        (click(559, 500), 1.0, 1.0),  # the box is 0.1 wide: 1.2 times that reaches 0.06 from its centre
        (click(561, 500), 1.0, 1.0),  # 66 px away, and 4 % of 2400 px are 96
        (click(590, 500), 0.0, 0.0),  # 97 px
        (click(500, 539), 1.0, 1.0),  # 94 px down
        (click(500, 541), 0.0, 0.0),  # 98 px down
        (Action(type="click"), 0.0, 0.0),
        (hold(500, 500), 0.0, 0.0),
    ],
)
def test_qwen_bbox_clicks(predicted, lenient, strict):
    step = reference(click(500, 500), boxes=(BoxNorm(0.45, 0.49, 0.55, 0.51),))
    assert verdict("qwen_bbox", step, predicted)[1] == lenient
    assert verdict("qwen_bbox_strict", step, predicted)[1] == strict


def test_qwen_bbox_opens_an_app_by_name_part_or_icon():
    step = reference(app("Zoho Meet"), boxes=(BoxNorm(0.1, 0.1, 0.2, 0.2),))
    assert verdict("qwen_bbox", step, app("zoho")) == (True, 1.0, None)
    assert verdict("qwen_bbox", step, click(150, 150)) == (True, 1.0, None)
    assert verdict("qwen_bbox_strict", step, click(150, 150)) == (False, 0.0, None)
    assert verdict("qwen_bbox_strict", step, app("zoho"))[1] == 0.0
    assert verdict("qwen_bbox", replace(step, boxes=None), click(150, 150)) == (False, 0.0, None)


def test_qwen_bbox_system_buttons_share_a_verb():
    back, enter = Action(type="press_back"), Action(type="hotkey", key="enter")
    assert verdict("qwen_bbox", back, Action(type="press_home")) == (True, 0.0, None)
    assert verdict("qwen_bbox", enter, back) == (True, 0.0, None)
    assert verdict("qwen_bbox", enter, enter) == (True, 1.0, None)
    assert verdict("qwen_bbox", enter, Action(type="hotkey", key="ctrl c")) == (True, 0.0, None)
    assert verdict("qwen_bbox", back, Action(type="hotkey", key="ctrl c")) == (False, 0.0, None)


def test_guir1_needs_no_verb_and_leaves_steps_without_argument_out():
    held = hold(500, 500)
    assert verdict("guir1", click(500, 500), held) == (False, 1.0, 1.0)
    assert verdict("guir1_strict", click(500, 500), held) == (False, 0.0, 0.0)
    assert verdict("guir1", Action(type="wait"), click(1, 1)) == (False, None, None)
    assert verdict("guir1_strict", Action(type="wait"), Action(type="wait")) == (True, 1.0, None)
    assert verdict("guir1", scroll("up"), scroll("down"))[1] == 0.0
    assert verdict("guir1", typed("a b c"), typed("a b x"))[1] == 1.0  # F1 of 2/3
    assert verdict("guir1", typed("a b c d"), typed("a x y z"))[1] == 0.0


def test_guir1_leaves_the_circle_itself_out():
    # Source: upstream's "<" where OS-Atlas has "<=".
    assert verdict("guir1", click(500, 500), click(640, 500)) == (True, 0.0, 0.0)
    assert verdict("guir1", click(500, 500), click(639, 500)) == (True, 1.0, 1.0)
    assert verdict("guir1_strict", click(500, 500), click(584, 612))[1] == 0.0  # 84, 112, 140


def test_uground500_takes_the_smallest_element_and_equivalent_actions():
    back = Element(role="button", text="Navigate back", box=BoxNorm(0.0, 0.0, 0.1, 0.1))
    icon = Element(role="icon", text="Zoho Meet", box=BoxNorm(0.5, 0.5, 0.6, 0.6))
    whole = Element(role="image", text="", box=BoxNorm(0.0, 0.0, 1.0, 1.0))
    tree = (whole, back, icon)
    step = reference(click(550, 550), elements=tree)
    assert verdict("uground500", step, click(590, 510)) == (True, 1.0, 1.0)
    assert verdict("uground500", step, click(610, 550)) == (True, 0.0, 0.0)
    opens = reference(app("Zoho"), elements=tree)
    assert verdict("uground500", opens, click(550, 550)) == (False, 1.0, 1.0)
    assert verdict("uground500", opens, click(50, 50)) == (False, 0.0, 0.0)
    assert verdict("uground500", step, app("zoho"))[1] == 1.0
    goes_back = reference(Action(type="press_back"), elements=tree)
    assert verdict("uground500", goes_back, click(50, 50))[1] == 1.0
    pointed = reference(Action(type="type", content="abc", point=at(550, 550)), elements=tree)
    assert verdict("uground500", pointed, Action(type="type", content="abc", point=at(551, 551)))[1] == 1.0
    assert verdict("uground500", pointed, Action(type="type", content="Abc", point=at(551, 551)))[1] == 0.0
    assert verdict("uground500", reference(typed("abc")), typed("abc")) == (True, 1.0, None)


def test_mind2web_needs_element_and_operation():
    boxes = (BoxNorm(0.1, 0.1, 0.2, 0.2), BoxNorm(0.5, 0.5, 0.6, 0.6))
    wanted = Action(type="type", content="Kansas City", point=at(150, 150))
    step = reference(wanted, "mind2web", boxes=boxes)
    assert verdict("m2w_uground", step, wanted) == (True, 1.0, 1.0)
    assert verdict("m2w_uground", step, replace(wanted, point=at(550, 550))) == (True, 1.0, 1.0)  # any box
    assert verdict("m2w_seeclick", step, replace(wanted, point=at(550, 550))) == (True, 0.0, 0.0)  # the first box
    assert verdict("m2w_uground", step, replace(wanted, content="kansas city !")) == (True, 1.0, 1.0)
    assert verdict("m2w_seeclick", step, replace(wanted, content="kansas city !")) == (True, 0.0, 1.0)
    assert verdict("m2w_uground", step, click(150, 150)) == (False, 0.0, 1.0)
    assert verdict("m2w_uground", step, scroll("down")) == (False, 0.0, 0.0)
    parts = get_protocol("m2w_uground").score(step, Prediction.of(replace(wanted, content="Kansas"))).parts
    assert parts["operation_f1"] == pytest.approx(0.8)  # {type, kansas} against {type, kansas, city}


def test_mind2web_typing_the_verb_itself_is_a_word_of_its_own_for_seeclick_only():
    # Source: SeeClick writes operations as the numbers 2, 3, 4; UGround as words, which a typed word can equal.
    step = reference(Action(type="type", content="foo", point=at(150, 150)), "mind2web", boxes=(BoxNorm(0, 0, 1, 1),))
    predicted = replace(step.action, content="type foo")
    assert verdict("m2w_uground", step, predicted)[1] == 1.0
    assert verdict("m2w_seeclick", step, predicted)[1] == 0.0


def test_mind2web_step_without_a_box_is_the_ceiling_of_one_and_no_step_of_the_other():
    step = reference(Action(type="click"), "mind2web", boxes=())
    assert verdict("m2w_uground", step, click(1, 1)) == (True, 0.0, 0.0)
    assert not PROTOCOLS["m2w_seeclick"].includes(step)
    assert not PROTOCOLS["m2w_uground_strict"].includes(step)


def raw(kind: str, **params) -> dict:
    return {"type": kind, "params": params, "metadata": {}}


def desktop(*actions: dict, others: tuple = ()) -> ReferenceStep:
    details = {"ground_truth_actions": list(actions), "alternative_options": [list(o) for o in others]}
    return reference(Action(type="wait"), "agentnetbench", details=details)


POSITION = {"x": 0.5, "y": 0.5}


@pytest.mark.parametrize(
    ("step", "predicted", "expected"),
    [
        # Source: the formulas of AgentNetBench's evaluator, worked by hand.
        (desktop(raw("click", position=POSITION)), click(510, 510), 1.0),  # 0.01 x sqrt 2 away
        (desktop(raw("click", position=POSITION)), click(530, 500), math.exp(-120 * (0.03 - 0.01 * math.sqrt(2)))),
        (desktop(raw("click", position=POSITION)), Action(type="left_double", point=at(500, 500)), 0.0),
        (desktop(raw("write", text="SPOTIFY\n")), typed("spotify"), 1.0),
        (desktop(raw("write", text="abcde")), typed("abcdx"), 1.0),  # 0.8 counts as 1
        (desktop(raw("write", text="abcd")), typed("abxy"), 0.5 / 0.8),
        (desktop(raw("write", text="abc"), raw("press", keys=["enter"])), typed("abc\n"), 1.0),
        (desktop(raw("hotkey", keys=["ctrl", "c"])), Action(type="hotkey", key="cmd c"), 1.0),
        (desktop(raw("hotkey", keys=["ctrl", "c"])), Action(type="hotkey", key="ctrl v"), 0.0),
        (desktop(raw("scroll", position=POSITION, amount=-5)), scroll("up"), 1.0),  # by its verb
        (desktop(raw("scroll", position=POSITION, amount=-5)), replace(scroll("down"), point=at(500, 500)), 1.0),
        (
            desktop(raw("moveTo", position=POSITION), raw("scroll", amount=-5)),
            replace(scroll("down"), point=at(500, 500)),
            1.0,
        ),
        (desktop(raw("moveTo", position=POSITION), raw("scroll", amount=-5)), scroll("down"), 0.0),
        (desktop(raw("terminate", status="success")), Action(type="finished"), 1.0),
        (desktop(raw("terminate", status="success")), Action(type="call_user"), 0.0),
        (desktop(raw("tripleClick", position=POSITION)), Action(type="triple_click", point=at(500, 500)), 0.0),
        (
            desktop(raw("moveTo", position=POSITION), raw("dragTo", position={"x": 0.9, "y": 0.9})),
            Action(type="drag", start_point=at(500, 500), end_point=at(100, 100)),
            0.5,
        ),
        (desktop(raw("press", keys=["a"]), others=[[raw("click", position=POSITION)]]), click(500, 500), 1.0),
        (desktop(raw("click", position=POSITION)), None, 0.0),
    ],
)
def test_agentnetbench(step, predicted, expected):
    assert verdict("agentnetbench", step, predicted)[1] == pytest.approx(expected, abs=1e-9)


@pytest.mark.parametrize(
    ("step", "predicted", "expected"),
    [
        (desktop(raw("write", text="SPOTIFY\n")), typed("spotify"), 0.9),
        (desktop(raw("scroll", amount=-5)), scroll("up"), 0.0),
        (desktop(raw("scroll", amount=-5)), scroll("down"), 1.0),
        (desktop(raw("hotkey", keys=["ctrl", "shift", "t"])), Action(type="hotkey", key="shift ctrl t"), 0.0),
        (desktop(raw("tripleClick", position=POSITION)), Action(type="triple_click", point=at(500, 500)), 1.0),
    ],
)
def test_agentnetbench_strict_has_no_quirks(step, predicted, expected):
    assert verdict("agentnetbench_strict", step, predicted)[1] == pytest.approx(expected)


def test_agentnetbench_names_a_broken_record():
    with pytest.raises(InputError, match="AgentNetBench action"):
        verdict("agentnetbench", desktop({"params": {}}), click(1, 1))


def test_unknown_protocol_is_refused_with_the_known_ones():
    with pytest.raises(InputError, match="choose one of osatlas"):
        get_protocol("osatlass")


def test_strict_variants_exist_and_every_protocol_says_what_it_is():
    for protocol in PROTOCOLS.values():
        assert protocol.strict is None or protocol.strict in PROTOCOLS
        assert bool(protocol.quirks) == (protocol.strict is not None)
        assert protocol.version >= 1 and protocol.source and protocol.title


def _argument(arg) -> st.SearchStrategy:
    fraction = st.floats(0, 1)
    return {
        ArgKind.POINT: st.builds(PointNorm, fraction, fraction),
        ArgKind.TEXT: st.text(max_size=12),
        ArgKind.DIRECTION: st.sampled_from(DIRECTIONS),
        ArgKind.SECONDS: st.floats(0, 10),
        ArgKind.MAPPING: st.just({}),
    }.get(arg.kind, st.text("abc ", min_size=1, max_size=8))


ANY_ACTION = st.sampled_from(sorted(ACTIONS)).flatmap(
    lambda name: st.fixed_dictionaries(
        {}, optional={arg.name: _argument(arg) for arg in ACTIONS[name].args}
    ).map(lambda values: Action(type=name, **values))
)
DATASETS = st.sampled_from(["android_control", "gui_odyssey", "mind2web", "agentnetbench", "simulator"])


@given(ANY_ACTION, st.none() | ANY_ACTION, DATASETS, st.sampled_from(sorted(PROTOCOLS)))
def test_every_verdict_is_within_bounds_and_repeats_whatever_the_actions(wanted, predicted, dataset, name):
    step = reference(wanted, dataset, boxes=(BoxNorm(0.2, 0.2, 0.4, 0.4),))
    first, second = (PROTOCOLS[name].score(step, Prediction.of(predicted)) for _ in range(2))
    assert first == second
    for value in (first.success, first.grounding, *first.parts.values()):
        assert value is None or 0.0 <= value <= 1.0
    if predicted is None:
        assert not first.is_type_right and not first.success


@pytest.mark.parametrize(
    ("name", "num_steps"), [("osatlas", 3816), ("guir1", 3816), ("qwen_bbox", 4206), ("grounded", 4206)]
)
def test_an_oracle_has_full_marks_on_the_real_androidcontrol_episodes(samples, name, num_steps):
    references = read_references(samples / "android_control" / "android_control_test_part1.jsonl")
    result = oracle_result(name, references)
    assert result["num_steps"] == num_steps
    assert result["step_success"]["rate"] == result["type"]["rate"] == result["episode_success"]["rate"] == 1.0


def oracle_result(name: str, references: list[ReferenceStep]) -> dict:
    protocol = PROTOCOLS[name]
    return summarise(protocol, score_all(protocol, references, {r.id: Prediction.of(r.action) for r in references}))


def test_osatlas_set_is_exactly_upstreams_list(samples):
    folder = samples / "android_control"
    references = read_references(folder / "android_control_test_part1.jsonl")
    listed = {tuple(line.removeprefix("episode_").split("_screenshot_"))
              for line in (folder / "ac_idx.txt").read_text().split()}  # fmt: skip
    assert len(listed) == PROTOCOLS["osatlas"].set_sizes["android_control"]
    episodes = {r.episode for r in references}
    mine = {(r.episode, str(r.index)) for r in references if PROTOCOLS["osatlas"].includes(r)}
    assert mine == {(episode, step) for episode, step in listed if episode in episodes}


def test_an_oracle_reaches_mind2webs_documented_ceiling(samples):
    references = read_references(samples / "mind2web" / "cross_website_blocks.jsonl")
    assert len(references) == PROTOCOLS["m2w_uground"].set_sizes["mind2web/website"] == 1019
    assert Counter(r.action.type for r in references) == {"click": 827, "type": 120, "select": 72}
    result = oracle_result("m2w_uground", references)
    assert result["step_success"] == {"rate": round(975 / 1019, 4), "num": 1019}  # 44 steps have no box
    assert result["parts"]["operation_f1"]["rate"] == 1.0
    assert oracle_result("m2w_seeclick", references)["step_success"] == {"rate": 1.0, "num": 975}


def test_an_oracle_has_full_marks_on_agentnetbench(samples):
    references = read_references(samples / "agentnetbench")
    assert (len(references), len({r.episode for r in references})) == (31, 3)
    assert oracle_result("agentnetbench", references)["step_success"]["rate"] == 1.0


def test_gpt4o_planner_replies_give_the_operation_and_type_figures_that_follow_from_them(samples):
    folder = samples / "mind2web"
    references = by_id(read_references(folder / "cross_website_blocks.jsonl"))
    plans = [json.loads(line) for line in (folder / "cross_website_gpt-4o_plan.jsonl").read_text().splitlines()]
    predictions, f1_scores, types_right = {}, [], 0
    for plan in plans:
        step_id = f"{plan['annotation_id']}/{plan['step']}"
        verb, value = plan["gpt_action"].lower(), plan["gpt_value"]
        value = "" if value == "None" else value
        # Operation F1 worked out here on its own: sets of words, without lone punctuation marks.
        mine = {w for w in f"{verb} {value if verb in ('type', 'select') else ''}".lower().split() if w not in "!?.,"}
        theirs = {w for w in f"{plan['operation']} {plan['value']}".lower().split() if w not in "!?.,"}
        f1_scores.append(2 * len(mine & theirs) / (len(mine) + len(theirs)) if mine else 0.0)
        types_right += verb == plan["operation"].lower()
        field = {"type": "content", "select": "value"}.get(verb)
        if verb in ("click", "type", "select"):
            action = Action(type=verb, **({field: value} if field else {}))
        else:
            action = scroll("down") if verb.startswith("scroll") else None
        predictions[step_id] = Prediction.of(action)
    result = summarise(
        PROTOCOLS["m2w_uground"], score_all(PROTOCOLS["m2w_uground"], references.values(), predictions)
    )
    assert result["num_missing"] == 0
    assert types_right == 630 + 80 + 34  # counted in the file: CLICK, TYPE and SELECT that the planner got right
    assert result["type"] == {"rate": round(types_right / 1019, 4), "num": 1019}
    assert result["parts"]["operation_f1"]["rate"] == pytest.approx(sum(f1_scores) / 1019, abs=2e-4)
    assert result["grounding"]["rate"] == 0.0  # a planner's reply has no point


def test_mind2web_reports_macro_averages_over_tasks_and_the_mean_of_its_splits():
    wanted = Action(type="type", content="a b", point=at(500, 500))
    step = reference(wanted, "mind2web", boxes=(BoxNorm(0.4, 0.4, 0.6, 0.6),))
    places = [("x/0", "task", wanted), ("x/1", "task", wanted), ("x/2", "task", click(0, 0)), ("y/0", "domain", None)]
    steps = [replace(step, id=i, episode=i[0], slices={"split": split}) for i, split, _ in places]
    predictions = {i: Prediction.of(action) for i, _, action in places}
    result = summarise(PROTOCOLS["m2w_uground"], score_all(PROTOCOLS["m2w_uground"], steps, predictions))
    assert result["step_success"]["rate"] == result["grounding"]["rate"] == 0.5
    # Task x has 2 of 3 right, task y none.
    assert result["step_success_by_episode_mean"] == pytest.approx(1 / 3, abs=1e-4)
    assert result["grounding_by_episode_mean"] == pytest.approx(1 / 3, abs=1e-4)
    assert result["parts_by_episode_mean"]["operation_f1"] == pytest.approx(1 / 3, abs=1e-4)
    assert result["by_split_mean"] == pytest.approx(1 / 3, abs=1e-4)
    assert "33.3% mean over episodes (grounding 33.3%), 33.3% over splits" in summary_text(result)


def test_failed_and_missing_predictions_are_wrong_and_counted_apart():
    steps = [replace(reference(click(500, 500)), id=f"1/{n}", index=n) for n in range(4)]
    predictions = {
        "1/0": Prediction.of(click(500, 500)),
        "1/1": Prediction(action=None, outcome=Outcome.FAILED, reason="down"),
        "1/2": Prediction.of(None),
    }
    result = summarise(PROTOCOLS["osatlas"], score_all(PROTOCOLS["osatlas"], steps, predictions))
    assert result["step_success"] == {"rate": 0.25, "num": 4}
    assert (result["num_errors"], result["num_missing"], result["parse_failure_rate"]) == (1, 1, 0.25)
    assert "first error    down" in summary_text(result)
    assert result["episode_success"] == {"rate": 0.0, "num": 1}


def test_odyssey_ams_leaves_incomplete_episodes_out_and_means_over_categories():
    step = reference(click(500, 500), "gui_odyssey")
    steps = [
        replace(step, id=f"{episode}/0", episode=episode, slices={"category": category})
        for episode, category in (("a", "Tool"), ("b", "Tool"), ("c", "Shop"))
    ]
    predictions = {"a/0": Prediction.of(click(500, 500)), "b/0": Prediction.of(click(0, 0))}
    result = summarise(PROTOCOLS["odyssey_ams"], score_all(PROTOCOLS["odyssey_ams"], steps, predictions))
    assert result["episode_success"] == {"rate": 0.5, "num": 2}
    assert result["by_category_mean"] == pytest.approx(0.25)  # (1/2 + 0) / 2
    strict = PROTOCOLS["odyssey_ams_strict"]
    assert summarise(strict, score_all(strict, steps, predictions))["episode_success"]["num"] == 3
