"""Tools by name: what they give, and what a planner reads when a call is wrong or a tool fails."""

from __future__ import annotations

import io
import json
import time
import zipfile
from collections.abc import Iterator

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from PIL import Image, ImageDraw, ImageFont

from executors.chat_server import ChatServer
from executors.errors import InputError
from executors.sandbox import Outcome, Sandbox, SandboxLimits
from executors.toolbox.box import Toolbox
from executors.toolbox.registry import T3_TO_GTA, all_tools, prompt_text
from executors.toolbox.vision import VisionModel
from tests.chat_server import completion, serve
from tests.support import require_program, require_sandbox

GTA = ("Calculator GoogleSearch Plot Solver OCR ImageDescription TextToBbox CountGivenObject MathOCR DrawBox AddText "
       "TextToImage ImageStylization RegionAttributeDescription").split()
T3 = ("visualizer facedetection objectlocation inspect_file_as_text image_generator segmentation image_edit "
      "ask_search_agent ocr").split()


@pytest.fixture(scope="module")
def sandbox() -> Iterator[Sandbox]:
    """One sandbox for all; it works without bubblewrap too, where no model-written code runs."""
    with Sandbox(limits=SandboxLimits(wall_seconds=10.0, memory_mib=1024)) as box:
        yield box


@pytest.fixture
def isolated(sandbox: Sandbox) -> Sandbox:
    """The sandbox, where it can run code."""
    require_sandbox()
    return sandbox


def png(sandbox: Sandbox, name: str, text: str = "", size: tuple[int, int] = (320, 120)) -> str:
    """Puts a white image with black text into the scratch folder."""
    picture = Image.new("RGB", size, "white")
    ImageDraw.Draw(picture).text((20, 30), text, fill="black", font=ImageFont.load_default(size=32))
    return put_image(sandbox, name, picture)


def put_image(sandbox: Sandbox, name: str, picture: Image.Image) -> str:
    """Puts an image into the scratch folder, in the place of an older one."""
    buffer = io.BytesIO()
    picture.save(buffer, format="PNG")
    (sandbox.scratch / name).unlink(missing_ok=True)
    return sandbox.add(name, buffer.getvalue())


def test_all_tools_of_gta_and_t3_agent_are_there_and_the_map_names_them() -> None:
    tools = all_tools()
    assert {*GTA, *T3, "python", "FileInspector", "ImageCrop", "ImageMeasure"} <= set(tools)
    assert set(T3_TO_GTA) == {*T3, "python"}
    assert {name for names in T3_TO_GTA.values() for name in names} == set(GTA)
    assert all(tool.doc and tool.returns for tool in tools.values())


def test_a_prompt_has_signature_meaning_and_arguments() -> None:
    assert prompt_text(["DrawBox", "OCR"]) == (
        "- DrawBox(image: image, bbox: box, annotation: text = None) -> image\n"
        "    Draws a red box on an image, and gives the path of the new image.\n"
        "    bbox: (x1, y1, x2, y2) in pixels\n    annotation: text above the box\n"
        "- OCR(image: image) -> text\n"
        "    Reads the text of an image: one line for each line of text, as (x1, y1, x2, y2) text, boxes in pixels."
    )


@pytest.mark.parametrize(
    ("expression", "text"),
    [
        ("2 + 3 * 4", "14"), ("(1 + 2) ** 3 / 4", "6.75"), ("-7 // 2", "-4"), ("17 % 5", "2"), ("sqrt(16)", "4.0"),
        ("math.floor(2.7) + abs(-1)", "3"), ("round(pi, 2)", "3.14"), ("max([1, 5, 3])", "5"), ("sum((1, 2))", "3"),
    ],
)
def test_calculator(sandbox: Sandbox, expression: str, text: str) -> None:
    assert Toolbox(sandbox).call("Calculator", {"expression": expression}).text == text


@pytest.mark.parametrize("expression", [
    "__import__('os').system('touch /scratch/hacked')", "open('x')", "'a' * 9", "(1).__class__", "[x for x in (1,)]",
    "1 / 0", "", "9 ** 9 ** 9", "(" * 3000, "math.os", "True", "x = 1",
])  # fmt: skip
def test_calculator_runs_nothing_else(sandbox: Sandbox, expression: str) -> None:
    result = Toolbox(sandbox).call("Calculator", {"expression": expression})
    assert result.kind == "failed" and result.text.startswith("Error: Calculator: ")
    assert not (sandbox.scratch / "hacked").exists()


@pytest.mark.parametrize(
    ("name", "arguments", "match"),
    [
        ("Calculator", {}, "argument 'expression' is missing"),
        ("Calculator", {"expression": 5}, "5 is not text"),
        ("Calculator", {"expression": "1", "x": 1}, "argument 'x' is unknown"),
        ("Calculator", {"expression": None}, "None is not text"),
        ("DrawBox", {"image": "a.png", "bbox": "(1, 2)"}, "is not a box"),
        ("DrawBox", {"image": "a.png", "bbox": [1, 2, 3, float("nan")]}, "is not a box"),
        ("DrawBox", {"image": "", "bbox": "(1,2,3,4)"}, "is not the path of an image"),
        ("DrawBox", {"image": "gone.png", "bbox": "(1,2,3,4)"}, "cannot be read"),
        ("DrawBox", {"image": "/etc/passwd", "bbox": "(1,2,3,4)"}, "not in the scratch folder"),
        ("FileInspector", {"file_path": "../../etc/passwd"}, "not in the scratch folder"),
        ("TextToBbox", {"image": "a.png", "text": "x", "top1": 1}, "1 is not a truth value"),
        ("GoogleSearch", {"query": "x", "k": True}, "True is not a whole number"),
    ],
)
def test_bad_arguments_are_told(sandbox: Sandbox, name: str, arguments: dict, match: str) -> None:
    result = Toolbox(sandbox).call(name, arguments)
    assert (result.kind, result.ok) == ("bad arguments", False)
    assert match in result.text


json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(alphabet=st.characters()),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(), inner, max_size=3), max_leaves=6,
)  # fmt: skip


@settings(max_examples=150, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.sampled_from(["DrawBox", "FileInspector", "TextToBbox", "GoogleSearch", "visualizer", "rm"]),
       st.dictionaries(st.sampled_from(["image", "bbox", "file_path", "text", "top1", "query", "k", "question"]),
                       json_values))
def test_no_arguments_make_a_call_raise(sandbox: Sandbox, name: str, arguments: dict) -> None:
    assert not Toolbox(sandbox).call(name, arguments).ok


def test_a_name_that_is_no_text_is_a_bad_argument(sandbox: Sandbox) -> None:
    for path in ("\ud800", "a\0b", "x" * 5000, "a/" * 3000):
        assert Toolbox(sandbox).call("FileInspector", {"file_path": path}).kind == "bad arguments"


def test_unknown_and_unavailable_tools_are_observations(sandbox: Sandbox) -> None:
    box = Toolbox(sandbox, ["Calculator", "visualizer", "GoogleSearch", "TextToImage"])
    png(sandbox, "v.png")
    assert box.call("rm", {}).kind == "unknown tool"
    assert "none is named" in box.call("visualizer", {"question": "?", "image_path": "v.png"}).text
    assert "network, which is off" in box.call("GoogleSearch", {"query": "x"}).text
    refused = box.call("TextToImage", {"keywords": "x"})
    assert refused.kind == "unavailable" and "weights are not here" in refused.text
    with pytest.raises(InputError, match="'rm' is unknown"):
        Toolbox(sandbox, ["rm"])
    with pytest.raises(InputError, match="takes no plugin"):
        Toolbox(sandbox, plugins={"Calculator": print})


def test_images_are_drawn_cropped_and_measured(sandbox: Sandbox) -> None:
    box = Toolbox(sandbox)
    png(sandbox, "a.png", size=(100, 50))
    drawn = box.call("DrawBox", {"image": "/scratch/a.png", "bbox": "(10, 10, 40, 30)", "annotation": "x"})
    assert drawn.ok and drawn.images == (drawn.value,)
    picture = box.open_image(drawn.value)
    assert picture.getpixel((10, 20)) == (255, 0, 0) and picture.getpixel((25, 20)) == (255, 191, 191)
    assert picture.getpixel((60, 20)) == (255, 255, 255)
    cropped = box.call("ImageCrop", {"image": drawn.value, "bbox": [90, 40, 200, 200]})
    assert box.open_image(cropped.value).size == (10, 10)
    assert box.call("ImageCrop", {"image": "a.png", "bbox": "(200, 200, 300, 300)"}).kind == "failed"
    measured = box.call("ImageMeasure", {"image": "a.png"}).text
    assert "100 x 50 pixels" in measured and "(255, 255, 255) (100%" in measured
    for position in ("mt", "(5, 40)"):
        written = box.call("AddText", {"image": "a.png", "text": "hello", "position": position, "color": "blue"})
        assert box.open_image(written.value).getcolors(10_000) != box.open_image("a.png").getcolors(10_000)
    assert "neither" in box.call("AddText", {"image": "a.png", "text": "x", "position": "(1, 2, 3)"}).text
    assert box.open_image("a.png").getcolors() == [(5000, (255, 255, 255))]  # the image itself is as it was


def test_ocr_reads_what_is_written(sandbox: Sandbox) -> None:
    require_program("tesseract")
    png(sandbox, "-rf; touch hacked.png", "Total 42")
    text = Toolbox(sandbox).call("OCR", {"image": "-rf; touch hacked.png"}).text
    assert text.endswith("Total 42") and text.startswith("(")
    assert Toolbox(sandbox).call("ocr", {"image_path": "-rf; touch hacked.png"}).value == ["Total 42"]
    assert not (sandbox.scratch / "hacked.png").exists()


def test_the_file_inspector_reads_every_kind(sandbox: Sandbox) -> None:
    docx, openpyxl, pptx = map(pytest.importorskip, ("docx", "openpyxl", "pptx"))
    pytest.importorskip("pypdf"), pytest.importorskip("bs4")
    from matplotlib.figure import Figure

    def saved(save) -> bytes:
        buffer = io.BytesIO()
        save(buffer)
        return buffer.getvalue()

    book = openpyxl.Workbook()
    book.active.append(["apple", 3])
    word = docx.Document()
    word.add_paragraph("hello word")
    word.add_table(1, 2).cell(0, 1).text = "cell"
    slides = pptx.Presentation()
    slides.slides.add_slide(slides.slide_layouts[0]).shapes.title.text = "hello slide"
    figure = Figure()
    figure.text(0.5, 0.5, "hello pdf")
    with zipfile.ZipFile(archive := io.BytesIO(), "w") as out:
        out.writestr("inner.txt", "x" * 10)
    html = b"<html><script>no()</script><p>hello <b>html</b></p><table><tr><td>1</td><td>2</td></tr></table>"
    files = {
        "t.csv": (b"a;b\n1;2\n", "a | b\n1 | 2"), "t.txt": ("é\n".encode(), "é\n"), "l.txt": (b"\xe9", "é"),
        "t.xlsx": (saved(book.save), "## sheet Sheet\napple | 3"), "t.docx": (saved(word.save), "hello word\n | cell"),
        "t.pptx": (saved(slides.save), "## slide 1\nhello slide"),
        "t.pdf": (saved(lambda f: figure.savefig(f, format="pdf")), "## page 1\nhello pdf"),
        "t.html": (html, "hello\nhtml\n1 | 2"), "t.xml": (b"<a><b>1</b></a>", "<a><b>1</b></a>"),
        "t.zip": (archive.getvalue(), "inner.txt (10 bytes)"), "t.bin": (b"\0\xff\1", "a binary file of 3 bytes"),
        "empty": (b"", "the file is empty"),
    }
    box = Toolbox(sandbox)
    for name, (data, text) in files.items():
        sandbox.add(name, data)
        result = box.call("FileInspector", {"file_path": name})
        assert result.ok and result.text.startswith(text), (name, result.text)
    assert "no()" not in box.call("inspect_file_as_text", {"file_path": "t.html"}).text
    png(sandbox, "i.png")
    assert "PNG, 320 x 120" in box.call("FileInspector", {"file_path": "i.png"}).text
    for name in ("t.xlsx", "t.docx", "t.pptx", "t.pdf"):
        sandbox.add(f"broken-{name}", files[name][0][:300])
        assert box.call("FileInspector", {"file_path": f"broken-{name}"}).kind == "failed", name
    asked = box.call("inspect_file_as_text", {"file_path": "t.txt", "question": "what?"})
    assert asked.kind == "unavailable" and asked.text.endswith("é\n")


def test_a_zip_bomb_is_refused_or_ends_the_inspector_only(sandbox: Sandbox) -> None:
    def bomb(name: str, size: int, claimed: int | None = None) -> str:
        with zipfile.ZipFile(buffer := io.BytesIO(), "w", zipfile.ZIP_DEFLATED) as out:
            with out.open("xl/workbook.xml", "w", force_zip64=False) as part:
                for _ in range(size >> 20):
                    part.write(b"0" * (1 << 20))
        data = buffer.getvalue()
        if claimed is not None:
            data = data.replace(size.to_bytes(4, "little"), claimed.to_bytes(4, "little"))
        return sandbox.add(name, data)

    box = Toolbox(sandbox)
    refused = box.call("FileInspector", {"file_path": bomb("bomb.xlsx", 300 << 20)})
    assert refused.kind == "failed" and "300 MiB" in refused.text
    assert not box.call("FileInspector", {"file_path": bomb("liar.xlsx", 64 << 20, 10)}).ok
    assert box.call("Calculator", {"expression": "1+1"}).text == "2"


def test_plugins_that_raise_hang_or_give_the_wrong_thing_are_recorded(sandbox: Sandbox) -> None:
    png(sandbox, "p.png")
    sandbox.limits = SandboxLimits(wall_seconds=0.4, memory_mib=1024)
    plugins = {
        "GoogleSearch": lambda query, k=4: f"{query} {k}", "VisitPage": lambda url: time.sleep(5),
        "visit_page": lambda url: "x" * 100_000_000, "ask_search_agent": lambda query: 1 / 0,
        "TextToImage": lambda keywords: 5, "segmentation": lambda **_: object(),
        "image_edit": lambda prompt, image_path: image_path.resize((5, 5)),
    }
    box = Toolbox(sandbox, plugins=plugins)
    assert box.call("GoogleSearch", {"query": "q", "k": 2}).text == "q 2"
    assert box.call("VisitPage", {"url": "u"}).kind == "limit"
    large = box.call("visit_page", {"url": "u"})
    assert large.ok and len(large.text) < 20_100 and "99980000 more characters left out" in large.text
    assert "ZeroDivisionError" in box.call("ask_search_agent", {"query": "q"}).text
    assert box.call("TextToImage", {"keywords": "k"}).kind == "wrong result"
    assert "not JSON" in box.call("segmentation", {"image_path": "p.png"}).text
    edited = box.call("image_edit", {"prompt": "small", "image_path": "p.png"})
    assert box.open_image(edited.images[0]).size == (5, 5)
    sandbox.limits = SandboxLimits(wall_seconds=10.0, memory_mib=1024)


def test_tools_of_a_model_server_ask_it(sandbox: Sandbox) -> None:
    put_image(sandbox, "s.png", Image.new("RGB", (200, 100), "white"))
    calls = [
        ("visualizer", {"question": "What?", "image_path": "s.png"}, "a cat", "a cat"),
        ("ImageDescription", {"image": "s.png"}, "white", "white"),
        ("RegionAttributeDescription", {"image": "s.png", "bbox": "(0, 0, 10, 10)", "attribute": "color"}, "w", "w"),
        ("CountGivenObject", {"image": "s.png", "text": "cat"}, "There are 3.", "3"),
        ("CountGivenObject", {"image": "s.png", "text": "cat"}, "many", "the model gave no number: many"),
        ("MathOCR", {"image": "s.png"}, "x^2", "x^2"),
        ("TextToBbox", {"image": "s.png", "text": "cat"}, "[100, 200, 500, 600]\n[0,0,9,9]", "(20, 20, 100, 60)"),
        ("TextToBbox", {"image": "s.png", "text": "cat", "top1": False}, "none", "no such object was found"),
        ("objectlocation", {"object": "cat", "image_path": "s.png"}, "[0,0,1000,1000] [9,9,5,5]", "[[0, 0, 200, 100]]"),
    ]
    with serve(*[(200, completion(reply)) for _, _, reply, _ in calls]) as server:
        box = Toolbox(sandbox, model=VisionModel(ChatServer(server.url, "m", boundary="tool", max_retries=0)))
        for name, arguments, _, text in calls:
            assert box.call(name, arguments).text == text
        assert "data:image/png" in json.dumps(server.seen[0][2])
    failed = box.call("MathOCR", {"image": "s.png"})
    assert failed.kind == "failed" and "127.0.0.1" in failed.text


def test_code_calls_tools_and_makes_images(isolated: Sandbox) -> None:
    box = Toolbox(isolated)
    png(isolated, "c.png", size=(60, 40))
    result = box.call("python", {"code": "path = DrawBox('c.png', '(1, 2, 30, 30)')\nfrom PIL import Image\n"
                                         "Image.open(path).save('mine.png')\nprint(Calculator('6*7'))"})
    assert result.ok and result.text == "42" and len(result.images) == 2 and "mine.png" in result.images
    assert "network, which is off" in box.call("python", {"code": "ask_search_agent('x')"}).text
    assert box.call("python", {"code": "pass"}).text.startswith("No output")
    assert box.call("python", {"code": "final_answer(5)"}).answer == "5"
    assert "$(touch hacked)" in box.call("python", {"code": "print(Calculator('$(touch hacked)'))"}).text
    code = "import os; os.symlink('/etc/hostname', 'link'); print(FileInspector('link'))"
    linked = box.call("python", {"code": code})
    assert "cannot be read" in linked.text


def test_code_cannot_call_tools_without_end(isolated: Sandbox) -> None:
    code = "n = 0\nwhile n < 200:\n    Calculator('1'); n += 1"
    result = Toolbox(isolated).call("python", {"code": code})
    assert result.kind == "failed" and "at most 100 times" in result.text


def test_a_missing_program_or_library_is_told(sandbox: Sandbox, monkeypatch: pytest.MonkeyPatch) -> None:
    png(sandbox, "m.png")
    box = Toolbox(sandbox)
    for error, words in (("FileNotFoundError: [Errno 2] No such file or directory: 'tesseract'", "program tesseract"),
                         ("ModuleNotFoundError: No module named 'PIL'", "a library is missing")):
        monkeypatch.setattr(sandbox, "call", lambda *_, error=error: Outcome(error=error))
        result = box.call("OCR", {"image": "m.png"})
        assert result.kind == "unavailable" and words in result.text


def test_solver_and_plot_run_their_code_alone(isolated: Sandbox) -> None:
    pytest.importorskip("sympy"), pytest.importorskip("matplotlib")
    box = Toolbox(isolated)
    solved = box.call("Solver", {"command": "```python\ndef solution():\n    x = symbols('x')\n"
                                            "    return str(solve(Eq(x**2, 9), x))\n```"})
    assert (solved.text, solved.kind) == ("[-3, 3]", None)
    assert box.call("Solver", {"command": "x = 1"}).kind == "failed"
    drawn = box.call("Plot", {"command": "def solution():\n    f = plt.figure()\n    plt.plot([1, 2])\n    return f"})
    assert drawn.ok and box.open_image(drawn.value).size == (640, 480)
    assert "no matplotlib figure, but int" in box.call("Plot", {"command": "def solution(): return 5"}).text


def test_code_is_refused_as_an_observation(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("executors.sandbox.bubblewrap_problem", lambda: "bwrap is not installed")
    with Sandbox() as sandbox:
        box = Toolbox(sandbox)
        for name, arguments in (("python", {"code": "1"}), ("Solver", {"command": "1"}), ("Plot", {"command": "1"})):
            result = box.call(name, arguments)
            assert result.kind == "unavailable" and "refused: bwrap is not installed" in result.text
        assert box.call("Calculator", {"expression": "2**10"}).text == "1024"
