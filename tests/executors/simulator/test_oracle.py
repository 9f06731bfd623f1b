"""The oracle solves every task, keeps to the levels' lengths, and recovers from what went wrong."""

from __future__ import annotations

import pytest

from executors.actions import Action, validate
from executors.simulator import SPLITS, SimulatorExecutor, list_tasks, make_task, oracle_action, record_episode
from executors.simulator.apps import CART
from executors.simulator.goals import Buy
from executors.simulator.oracle import MEMORY_STEPS
from executors.simulator.tasks import TEMPLATES
from executors.simulator.widgets import Frame

_PAIRS = [(split, t.name) for split in SPLITS for t in list_tasks(split)]
_MAX_STEPS = {1: 3, 2: 6, 3: 10}


def _outcome(task) -> str:
    return "impossible" if task.is_impossible else "success"


@pytest.mark.parametrize(("split", "name"), _PAIRS)
def test_oracle_solves_every_template_of_every_split_despite_interruptions(split, name):
    for seed in range(3):
        task = make_task(name, split, seed)
        trajectory = record_episode(task, interruption_rate=0.05, with_images=False)
        assert trajectory.outcome == _outcome(task), (seed, [s.instruction for s in trajectory.steps])


@pytest.mark.parametrize(("split", "name"), _PAIRS)
def test_oracle_recovers_from_mistakes_and_perturbed_starts(split, name):
    task = make_task(name, split, 11)
    trajectory = record_episode(task, 5, mistake_rate=0.2, start_perturbation=4, max_steps=60, with_images=False)
    assert trajectory.outcome == _outcome(task), [s.instruction for s in trajectory.steps]


@pytest.mark.parametrize("name", TEMPLATES)
def test_undisturbed_episodes_keep_to_the_length_of_their_level(name):
    template = TEMPLATES[name]
    split = "train" if template.kind == "train" else template.kind
    for seed in range(4):
        trajectory = record_episode(make_task(name, split, seed), interruption_rate=0.0, with_images=False)
        assert 2 <= len(trajectory.steps) <= _MAX_STEPS[template.level]


def test_there_are_enough_templates_of_each_kind():
    kinds = ("train", "task_unseen", "app_unseen")
    by_kind = {kind: [t for t in TEMPLATES.values() if t.kind == kind] for kind in kinds}
    assert len(TEMPLATES) >= 36
    assert sum(t.level <= 2 for t in by_kind["train"]) >= 22
    assert len(by_kind["task_unseen"]) >= 4
    assert len(by_kind["app_unseen"]) >= 5


def test_every_recorded_action_is_well_formed_and_targets_hold_their_points():
    for split, name in _PAIRS[::3]:
        for step in record_episode(make_task(name, split, 21), mistake_rate=0.2, with_images=False).steps:
            assert validate(step.action) is None
            point = step.action.point or step.action.start_point
            if step.target is not None:
                assert step.target.contains(point)


def test_instructions_name_one_visible_element_by_label_and_role():
    for split, name in _PAIRS[::2]:
        for step in record_episode(make_task(name, split, 31), mistake_rate=0.2, with_images=False).steps:
            if step.target is None:
                continue
            matches = [e for e in step.observation.elements if f'the "{e.text}" {e.role}' in step.instruction]
            boxes = [e.box for e in matches]
            assert step.target in boxes, step.instruction
            assert len({(e.text, e.role) for e in matches}) == len(matches), step.instruction


def test_a_note_is_typed_within_the_planners_memory():
    for seed in range(6):
        for name in ("chat_code_to_note", "phone_to_message", "price_to_note"):
            instructions = [
                s.instruction
                for s in record_episode(make_task(name, "train", seed), mistake_rate=0.2, with_images=False).steps
            ]
            noted = max(i for i, text in enumerate(instructions) if text.startswith("note "))
            word = instructions[noted].split('"')[1]
            typed = max(i for i, text in enumerate(instructions) if text == f'type "{word}"')
            assert 0 < typed - noted <= MEMORY_STEPS


def _run(device: SimulatorExecutor, max_steps: int = 30) -> list[str]:
    instructions = []
    while not device.is_done and len(instructions) < max_steps:
        action, instruction, _ = oracle_action(device.world, device.task)
        device.advance(action)
        instructions.append(instruction)
    return instructions


def _tap(device: SimulatorExecutor, label: str, kind: str = "click") -> None:
    element = next(e for e in device.observe(with_image=False).elements if e.text == label and e.is_clickable)
    device.advance(Action(type=kind, point=element.box.center))


def test_oracle_undoes_a_wrong_toggle():
    task = make_task("settings_toggle_here", "train", 2)
    device = SimulatorExecutor(task, interruption_rate=0.0)
    wrong = next(
        e for e in device.observe(with_image=False).elements
        if e.role == "switch" and e.text != task.plan.wants[0].label
    )
    _tap(device, wrong.text)
    instructions = _run(device)
    assert f'tap the "{wrong.text}" switch' in instructions
    assert device.is_success()


def test_oracle_retypes_a_wrong_text():
    device = SimulatorExecutor(make_task("note_new", "train", 3), interruption_rate=0.0)
    for _ in range(3):
        device.advance(oracle_action(device.world, device.task)[0])
    device.advance(Action(type="type", content="Nonsense"))
    assert _run(device)[0].startswith("type ")
    assert device.is_success()


def test_oracle_sorts_a_list_after_a_wrong_drag():
    device = SimulatorExecutor(make_task("note_move_near", "train", 4), interruption_rate=0.0)
    rows = [e for e in device.observe(with_image=False).elements if e.role == "row"]
    device.advance(Action(type="drag", start_point=rows[3].box.center, end_point=rows[0].box.center))
    device.advance(Action(type="drag", start_point=rows[1].box.center, end_point=rows[2].box.center))
    _run(device)
    assert device.is_success()


def test_interruptions_and_mistakes_are_flagged():
    flags = set()
    for seed in range(12):
        trajectory = record_episode(
            make_task("settings_toggle", "train", seed), interruption_rate=0.3, mistake_rate=0.3, with_images=False
        )
        flags |= {flag for step in trajectory.steps for flag in step.flags}
    assert flags == {"interruption", "incorrect"}


def test_meta_names_the_source_of_an_episode():
    meta = record_episode(make_task("settings_toggle", "val", 5), with_images=False).meta
    assert (meta["template"], meta["level"], meta["seed"], meta["split"]) == ("settings_toggle", 2, 5, "val")
    assert meta["form"] in ("phone", "desktop") and meta["apps"] == ["Settings"]


def test_oracle_restores_what_was_changed_before_it_gives_up():
    device = SimulatorExecutor(make_task("setting_missing", "train", 6), interruption_rate=0.0)
    for _ in range(2):
        device.advance(oracle_action(device.world, device.task)[0])
    switch = next(e for e in device.observe(with_image=False).elements if e.role == "switch")
    _tap(device, switch.text)
    assert _run(device)[-1] == "not possible"
    assert device.is_success()


def test_oracle_does_not_confirm_another_apps_delete():
    """Record numbers are each app's own, so the button that deletes the contact looks like the one that is meant."""
    device = SimulatorExecutor(make_task("event_delete", "train", 1), interruption_rate=0.0)
    world, number = device.world, device.task.plan.wants[0].record_id
    world.app, world.stack = "Contacts", [Frame(page=("tab", "Contacts")), Frame(page=("record", number))]
    world.operate(("ask_delete", number))
    assert world.dialog is not None
    _run(device)
    assert device.is_success() and world.data["Contacts"].record(number) is not None


@pytest.mark.parametrize("name", ["shop_buy", "shop_order"])
def test_oracle_takes_a_wrong_product_out_of_the_cart_before_it_orders(name):
    device = SimulatorExecutor(make_task(name, "train", 1), interruption_rate=0.0)
    meant = {want.record_id for want in device.task.plan.wants if isinstance(want, Buy)}
    wrong = next(r for r in device.world.data["Shop"].records if not r.tags and r.id not in meant)
    wrong.tags.add(CART.tag)
    _run(device)
    assert device.is_success() and wrong.tags == set()
