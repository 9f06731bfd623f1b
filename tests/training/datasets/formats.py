"""Writes small files in exactly the form of each data set, byte by byte where the form is binary.

Nothing here uses the importers' own readers, message tables or constants, so that a wrong field number there is seen.
"""

from __future__ import annotations

import gzip
import io
import json
import random
import struct
from pathlib import Path

import google_crc32c
import PIL.Image


def image_bytes(size: tuple[int, int] = (27, 60), seed: int = 0, form: str = "PNG") -> bytes:
    """A screenshot of random stripes, which compresses about as well as a real one."""
    rng = random.Random(seed)
    width, height = size
    row = [bytes(rng.randrange(256) for _ in range(3)) * width for _ in range(height)]
    buffer = io.BytesIO()
    PIL.Image.frombytes("RGB", size, b"".join(row)).save(buffer, format=form)
    return buffer.getvalue()


# --------------------------------------------------------------------------------------- protobuf and TFRecord framing


def varint(number: int) -> bytes:
    """A whole number as protobuf writes it; negative ones as 64-bit two's complement."""
    number &= (1 << 64) - 1
    out = bytearray()
    while number > 0x7F:
        out.append(number & 0x7F | 0x80)
        number >>= 7
    out.append(number)
    return bytes(out)


def block(number: int, data: bytes | str) -> bytes:
    """A field of bytes, text or a message."""
    data = data.encode() if isinstance(data, str) else data
    return varint(number << 3 | 2) + varint(len(data)) + data


def whole(number: int, value: int) -> bytes:
    """A field of a whole number or a truth value."""
    return varint(number << 3) + varint(int(value))


def example(**features: list[bytes] | list[str] | list[int]) -> bytes:
    """A serialised tf.train.Example; int64 lists are packed, as TensorFlow writes them."""
    entries = b""
    for name, values in features.items():
        if values and isinstance(values[0], int):
            feature = block(3, block(1, b"".join(map(varint, values))))
        else:
            feature = block(1, b"".join(block(1, value) for value in values))
        entries += block(1, block(1, name) + block(2, feature))
    return block(1, entries)


def rect(left: int, top: int, right: int, bottom: int) -> bytes:
    """An android_env ProtoRect."""
    return whole(1, left) + whole(2, top) + whole(3, right) + whole(4, bottom)


def node(number: int, box: tuple[int, int, int, int], class_name: str = "android.view.View", **told: object) -> bytes:
    """An AndroidAccessibilityNodeInfo; visible unless told otherwise. The numbers are those of the released proto."""
    numbers = {
        "content_description": 4, "hint_text": 5, "package_name": 6, "text": 7, "view_id_resource_name": 10,
        "is_checkable": 12, "is_checked": 13, "is_clickable": 14, "is_editable": 15, "is_enabled": 16,
        "is_focused": 18, "is_long_clickable": 19, "is_password": 20, "is_scrollable": 21, "is_visible_to_user": 23,
        "tooltip_text": 31,
    }
    out = whole(1, number) + block(2, rect(*box)) + block(3, class_name)
    for name, value in {"is_visible_to_user": True, "is_enabled": True, **told}.items():
        if name == "children":
            out += block(25, b"".join(map(varint, value)))
        else:
            out += block(numbers[name], value) if isinstance(value, str) else whole(numbers[name], value)
    return out


def forest(*windows: tuple[int, list[bytes]]) -> bytes:
    """An AndroidAccessibilityForest of (layer, nodes) windows."""
    return b"".join(
        block(1, block(1, rect(0, 0, 27, 60)) + whole(3, 7) + whole(4, layer) + block(5, "title") + whole(6, 1)
              + block(11, b"".join(block(1, one) for one in nodes)))
        for layer, nodes in windows
    )


def tfrecord(*records: bytes) -> bytes:
    """Records in TFRecord framing with their masked checksums."""

    def masked(data: bytes) -> bytes:
        crc = google_crc32c.value(data)
        return struct.pack("<I", ((crc >> 15 | crc << 17) + 0xA282EAD8) & 0xFFFFFFFF)

    return b"".join(
        (length := struct.pack("<Q", len(record))) + masked(length) + record + masked(record) for record in records
    )


# ------------------------------------------------------------------------------------------------------- AndroidControl


def android_episode(number: int, actions: list[dict | bytes] | None = None, **changes: object) -> bytes:
    """One episode: click, scroll, done; `changes` replace features."""
    actions = actions if actions is not None else [
        {"action_type": "open_app", "app_name": "Zoho Meet"},
        {"action_type": "click", "x": 10, "y": 12},
        {"action_type": "scroll", "direction": "down"},
    ]
    screens = [image_bytes(seed=number * 100 + i) for i in range(len(actions) + 1)]
    tree = forest((1, [
        node(0, (0, 0, 27, 60), "android.widget.FrameLayout", children=[1]),
        node(1, (5, 10, 15, 14), "android.widget.Button", text="Save", is_clickable=True),
    ]))
    features: dict[str, object] = {
        "episode_id": [number], "goal": [f"goal {number}"], "screenshots": screens,
        "accessibility_trees": [tree] * len(screens), "screenshot_widths": [27] * len(screens),
        "screenshot_heights": [60] * len(screens),
        "actions": [json.dumps(one) if isinstance(one, dict) else one for one in actions],
        "step_instructions": [f"step {i}" for i in range(len(actions))],
    }
    features |= changes
    return example(**{name: value for name, value in features.items() if value})


def android_folder(folder: Path, *records: bytes, splits: dict | None = None, subsplits: dict | None = None) -> Path:
    """A folder with one GZIP shard and the split files; episodes 1..9 are in train, 10 and up in test."""
    folder.mkdir(parents=True, exist_ok=True)
    data = gzip.compress(tfrecord(*records), compresslevel=1)
    (folder / "android_control-00000-of-00020").write_bytes(data)
    splits = splits or {"train": list(range(1, 10)), "validation": [0], "test": list(range(10, 100))}
    (folder / "splits.json").write_text(json.dumps(splits))
    (folder / "test_subsplits.json").write_text(json.dumps(subsplits or {"IDD": [10], "app_unseen": [11, 12],
                                                                         "task_unseen": [12], "category_unseen": [12]}))
    return folder


# ---------------------------------------------------------------------------------------------------------- GUI-Odyssey


def odyssey_episode(number: str, *steps: dict, is_new: bool = True, **changes: object) -> dict:
    """One annotation; the new release has words and `sam2_bbox` for every step."""
    steps = steps or ({"action": "CLICK", "info": [[500, 250], [500, 250]]},
                      {"action": "SCROLL", "info": [[500, 800], [500, 300]]},
                      {"action": "COMPLETE", "info": ""})
    made = []
    for index, step in enumerate(steps):
        words = {"description": "A page. More.", "intention": "I want to.", "context": "c",
                 "low_level_instruction": f"do {index}",
                 "sam2_bbox": [400, 200, 600, 300] if step.get("action") == "CLICK" else []}
        told = words if is_new else {}
        made.append({"step": index, "screenshot": f"{number}_{index}.png", "ps": "", **told, **step})
    return {
        "episode_id": number,
        "device_info": {"product": "p", "release_version": "14", "sdk_version": "34", "h": 3120, "w": 1440,
                        "device_name": "Pixel 7 Pro"},
        "task_info": {"category": "General_Tool", "app": ["Clock"], "meta_task": "Set {}", "task": "Set it",
                      "instruction": "Set an alarm"},
        "step_length": len(made), "steps": made, **changes,
    }


def odyssey_folder(folder: Path, *episodes: dict, is_nested: bool = False) -> Path:
    """A release: annotations, a screenshot a step (in sub-folders as in the old one), and the splits."""
    (folder / "annotations").mkdir(parents=True, exist_ok=True)
    shots = folder / "screenshots" / ("data_0" if is_nested else ".")
    shots.mkdir(parents=True, exist_ok=True)
    (folder / "splits").mkdir(exist_ok=True)
    for episode in episodes:
        name = episode.get("episode_id")
        (folder / "annotations" / f"{name}.json").write_text(json.dumps(episode))
        for index in range(len(episode.get("steps") or ())):
            (shots / f"{name}_{index}.png").write_bytes(image_bytes((20, 40), seed=index))
    names = [f"{episode.get('episode_id')}.json" for episode in episodes]
    for scheme, part in (("random", "train"), ("task", "test"), ("device", "train"), ("app", "test")):
        other = {"train": "test", "test": "train"}[part]
        (folder / "splits" / f"{scheme}_split.json").write_text(json.dumps({part: names, other: []}))
    return folder


# ------------------------------------------------------------------------------------------------- Multimodal-Mind2Web


def candidate(box: str, *, is_original: bool = True) -> str:
    """A positive candidate: JSON in which `attributes` is JSON text again."""
    attributes = {"backend_node_id": "136", "bounding_box_rect": box, "class": "c"}
    return json.dumps({"tag": "button", "attributes": json.dumps(attributes), "is_original_target": is_original,
                       "is_top_level_target": True, "backend_node_id": "136"})


def mind2web_row(task: str, index: int, num_steps: int = 3, **changes: object) -> dict:
    """One step of a task on a page of 128x500 pixels."""
    row = {
        "action_uid": f"{task}-{index}", "raw_html": "<html>", "cleaned_html": "<html>",
        "operation": json.dumps({"original_op": "CLICK", "value": "", "op": "CLICK"}),
        "pos_candidates": [candidate("32,220,64,30")], "neg_candidates": [], "website": "w", "domain": "Travel",
        "subdomain": "Other", "annotation_id": task, "confirmed_task": f"Task {task}",
        "screenshot": {"bytes": image_bytes((128, 500), seed=index, form="JPEG"), "path": "s.jpg"},
        "action_reprs": [f"[button]  Step {i} -> CLICK" for i in range(num_steps)], "target_action_index": str(index),
        "target_action_reprs": f"[button]  Step {index} -> CLICK",
    }
    return row | changes


def mind2web_file(path: Path, *rows: dict, row_group_size: int = 4) -> Path:
    """A parquet file of these rows, with the page checksums that tell flipped bytes."""
    import pyarrow
    import pyarrow.parquet

    path.parent.mkdir(parents=True, exist_ok=True)
    text = pyarrow.string()
    shot = pyarrow.struct([("bytes", pyarrow.binary()), ("path", text)])
    kinds = {"screenshot": shot, "pos_candidates": pyarrow.list_(text), "neg_candidates": pyarrow.list_(text),
             "action_reprs": pyarrow.list_(text)}
    schema = pyarrow.schema([(name, kinds.get(name, text)) for name in mind2web_row("", 0)])
    table = pyarrow.Table.from_pylist(list(rows), schema=schema)
    pyarrow.parquet.write_table(table, path, row_group_size=row_group_size)
    return path


# ------------------------------------------------------------------------------------------- AgentTrek, MM-Traj, UI-S1


def agenttrek_row(goal: str, past: int, action: str, tree: str | None = None) -> dict:
    """One row: AgentLab's prompt with `past` steps of history, and a reply."""
    tree = tree or "RootWebArea 'Shop', focused, url='https://shop'\n\t[42] button 'Search', clickable, visible\n" \
                   "\t[a7] textbox 'Query \\'x\\'', visible"
    history = "".join(f"## step {i}\n\n### Action:\nclick('42')\n\n" for i in range(past))
    prompt = (
        "# Instructions\n\nReview the current state of the page.\n\n"
        f"## Goal:\n{goal}\n\n# Observation of current step:\n\n## AXTree:\n{tree}\n\n"
        f"# History of interaction with the task:\n\n{history}# Action space:\n\n## click(bid)\n"
    )
    return {"messages": [
        {"role": "system", "content": "You are an agent."},
        {"role": "user", "content": prompt},
        {"role": "assistant", "content": f"<think>\nI think.\n</think>\n<action>\n{action}\n</action>"},
    ]}


def mm_traj_record(number: str, *codes: str, **changes: object) -> dict:
    """One trajectory: a task, then a Thought and Code turn for each code, answered by an Observation."""
    turns = [{"from": "system", "value": "You are an expert."}, {"from": "user", "value": f"Task: task {number}\n"}]
    codes = codes or ('a = ask_search_agent(query="x")\nprint(a)', 'final_answer("42")')
    for index, code in enumerate(codes):
        if index:
            turns.append({"from": "user", "value": f"[OUTPUT OF STEP {index - 1}] Observation:\noutput {index}\n"})
        turns.append({"from": "assistant", "value": f"Thought: thought {index}. More.\n\nCode:\n```py\n{code}\n```"})
    return {"id": number, "image": {}, "correct": "yes", "answer": "42", "conversations": turns,
            "traj_verification": "", **changes}


def ui_s1_record(number: int, *steps: tuple[dict, dict], **changes: object) -> dict:
    """One episode of (action_content, check_options) steps."""
    steps = steps or (
        ({"action": "open", "text": "Clock"}, {"action": "open", "text": "Clock"}),
        ({"action": "click", "coordinate": [540, 1200]},
         {"action": "click", "coordinate": [540, 1200],
          "candidate_bbox": [[500, 1100, 600, 1300], [0, 473, 1080, 2337]]}),
        ({"action": "swipe", "coordinate": [540.0, 1800.0], "coordinate2": [540.0, 600.0]},
         {"action": "swipe", "direction": "down"}),
    )
    return {"goal": f"goal {number}", "is_successful": True, "episode_id": number, "steps": [
        {"action_content": content, "screenshot": f"/datasets/AndroidControl/images/{number}_{index}.png",
         "step_instruction": f"step {index}", "check_options": options}
        for index, (content, options) in enumerate(steps)], **changes}


def bench_task(name: str, *steps: dict, **changes: object) -> dict:
    """One AgentNetBench task of a click and a terminate."""
    steps = steps or (bench_step("pyautogui.click(x=0.5, y=0.25)", ("click", {"position": {"x": 0.5, "y": 0.25}})),
                      bench_step("computer.terminate(status='success')", ("terminate", {"status": "success"})))
    return {"task_id": name, "user_task_description": "Do it", "high_level_task_description": "Do this",
            "steps": [{"step_num": index, "image": "a.png", **step} for index, step in enumerate(steps)], **changes}


def bench_step(code: str, *truth: tuple[str, dict], box: list[float] | None = None) -> dict:
    """One AgentNetBench step."""
    bboxes = [{"category_id": 1, "rel_bbox": box or [0.4, 0.2, 0.2, 0.1], "abs_bbox": [0, 0, 1, 1], "area": 1}]
    return {"action": code, "milestone": False, "alternative_options": [],
            "inner_monologue": {"observation": "A desktop. More.", "thought": "t", "low_level_instruction": "do it"},
            "ground_truth_actions": [{"type": kind, "params": params, "metadata": {"bboxes": bboxes}}
                                     for kind, params in truth]}


def json_lines(path: Path, *records: dict) -> Path:
    """A JSON Lines file."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("".join(json.dumps(record) + "\n" for record in records))
    return path


def json_array(path: Path, *records: dict) -> Path:
    """One JSON array, indented as MM-Traj's file is."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(records, indent=1))
    return path
