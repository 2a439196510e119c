"""The page with a server: who may ask it, what it answers, and what ends when it ends."""

import http.client
import json
import os
import signal
import subprocess
import sys
import time
import urllib.request
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
from nets import deep_net, skip_networks
from test_page import Page, axe, until

import tinygrad_lite as tl
from tinygrad_lite import Tensor, graph, replay, steps
from tinygrad_lite.insight.knobs import Knobs
from tinygrad_lite.live.server import reachable
from tinygrad_lite.views.page_data import diagrams

SCRIPT = """
import numpy as np
from tinygrad_lite import Tensor, scope, sigmoid

rng = np.random.default_rng(34)
x = Tensor(rng.standard_normal(3), name="x")
W2 = Tensor(rng.standard_normal((4, 3)), requires_grad=True, name="W2")
W3 = Tensor(rng.standard_normal((4, 4)), requires_grad=True, name="W3")
b3 = Tensor(rng.standard_normal(4), requires_grad=True, name="b3")
y = sigmoid(W2 @ x)
with scope("f3"):
    F = sigmoid(W3 @ y + b3)
G = F + y
"""


@pytest.fixture
def knobs():
    G = skip_networks()[1]
    G.backward(np.ones(4))
    return Knobs(steps(G), "G")


def node_named(y, name):
    return next(n for n in graph(y) if n.name == name)


def ask(knobs, **question):
    return json.loads(knobs.answer(question))


def gradient(answer, name):
    """The gradient of a leaf in an answer."""
    index = next(n[5] for n in answer["nodes"] if n[0] == name)
    found = answer["arrays"][index]
    return np.array(found["data"]).reshape(found["shape"])


# What is answered is what replay computes


def test_a_knob_is_a_replay(knobs):
    G = knobs.output
    b3 = node_named(G, "b3")
    answer = ask(knobs, kind="change", data={b3.id: {"times": 2, "add": 3, "set": [[1, 0.5]]}})
    array = b3.value * 2 + 3
    array[1] = 0.5
    y = replay(G, {"b3": array})
    for name in ("W1", "b2", "W3", "b3"):
        expected = tl.grad(y, node_named(G, name).tensor, np.ones(4)).data
        np.testing.assert_allclose(gradient(answer, name), expected, rtol=1e-5)
    assert answer["base"] == list(range(len(graph(G))))


@pytest.mark.parametrize("how", ["stop", "ablate"])
def test_a_branch_is_cut_as_replay_cuts_it(knobs, how):
    G = knobs.output
    edge = graph(G).edges[-2]  # F into the sum
    answer = ask(knobs, kind="change", **{how: [[edge.target, edge.slot]]})
    cut = {"stop": "stop_gradient"}.get(how, how)
    y = replay(G, **{cut: edge})
    W1 = node_named(G, "W1").tensor
    expected = tl.grad(y, W1, np.ones(4)).data
    np.testing.assert_allclose(gradient(answer, "W1"), expected, rtol=1e-5)
    (wire,) = [w for w in answer["views"][0]["wires"] if w[0] == f"e{edge.target}-{edge.slot}"]
    assert wire[6] == {"stop": "stopped", "ablate": "ablated"}[how]
    assert (None in answer["base"]) == (how == "ablate")


@pytest.mark.parametrize("scalars", [False, True])
def test_every_number_of_the_picture_is_of_the_same_replay(knobs, scalars):
    if scalars:
        x = Tensor(2.0, requires_grad=True, name="b3")
        y = tl.tanh(x * 0.3) * x
        y.backward()
        knobs = Knobs(steps(y))
    G = knobs.output
    b3 = node_named(G, "b3")
    answer = ask(knobs, kind="change", data={b3.id: {"add": 2}})
    start = np.ones(G.shape)
    drawn = diagrams(graph(replay(G, {"b3": b3.value + 2}), start))[0]
    slopes = {wire.id: wire.slope for wire in drawn.wires}
    assert {w[0]: w[10] for w in answer["views"][0]["wires"]} == slopes
    arriving = [wire for wire in drawn.wires if wire.traffic.arrives]
    labels = {wire.id: "" if wire.told else wire.label for wire in arriving}
    assert {w[0]: w[5] for w in answer["views"][0]["wires"] if w[0] in labels} == labels
    boxes = {box.id: [list(box.lines), list(box.below), box.tooltip] for box in drawn.boxes}
    assert answer["views"][0]["texts"]
    for id, lines, below, tooltip in answer["views"][0]["texts"]:
        assert boxes[id] == [lines, below, tooltip]


def test_shares_and_paths_follow(knobs):
    G = knobs.output
    b3, W1 = node_named(G, "b3"), node_named(G, "W1")
    answer = ask(knobs, kind="change", data={b3.id: {"add": 2}}, wrt=W1.id)
    found = tl.paths(replay(G, {"b3": b3.value + 2}), W1.tensor, np.ones(4))
    (travel,) = answer["travels"].values()
    assert [row["share"] for row in travel["rows"]] == pytest.approx([p.share for p in found], 1e-4)
    assert [row["norm"] for row in travel["rows"]] == pytest.approx([p.norm for p in found], 1e-4)


def test_what_a_value_had_before_a_step_is_of_the_same_replay(knobs):
    G = knobs.output
    b3, y = node_named(G, "b3"), node_named(G, "y")
    at = next(
        i for i, step in enumerate(knobs.steps) if any(s.id == y.id and s.total for s in step.sends)
    )
    answer = ask(knobs, kind="change", data={b3.id: {"add": 2}}, at=at)
    (send,) = [s for s in answer["steps"][at]["sends"] if s["to"] == y.id]
    had, sent, now = (
        np.array(answer["arrays"][send[k]]["data"]) for k in ("had", "array", "soFar")
    )
    np.testing.assert_allclose(had + sent, now, rtol=1e-5)
    np.testing.assert_allclose(had, np.ones(4))


def test_a_sweep_is_many_replays(knobs):
    G = knobs.output
    b3, W1 = node_named(G, "b3"), node_named(G, "W1")
    sweep = {"leaf": b3.id, "how": "add", "from": 0, "to": 20, "wrt": W1.id}
    points = ask(knobs, kind="sweep", **sweep)["points"]
    assert points[0][0] == 0
    assert points[-1][0] == 20
    for x, size, rows in points:
        y = replay(G, {"b3": b3.value + x})
        expected = np.linalg.norm(tl.grad(y, W1.tensor, np.ones(4)).data)
        assert size == pytest.approx(expected, rel=1e-4)
        assert len(rows) == 2


def test_the_code_does_what_the_page_shows(knobs):
    G = knobs.output
    b3, W1, edge = node_named(G, "b3"), node_named(G, "W1"), graph(G).edges[-2]
    changes = {
        "data": {b3.id: {"add": 20.0}, W1.id: {"times": 2, "set": [[4, -1.5]]}},
        "stop": [[edge.target, edge.slot]],
        "ablate": [[edge.target, 1 - edge.slot]],
    }
    code = ask(knobs, kind="code", **changes)["code"]
    assert "replay(G, {" in code
    names = {"G": G}
    exec(code, names)
    answer = ask(knobs, kind="change", **changes)
    b2 = node_named(G, "b2").tensor
    changed = graph(names["changed"], np.ones(4))
    expected = next(n.gradient for n in changed if n.name == "b3")
    np.testing.assert_allclose(gradient(answer, "b3"), expected, rtol=1e-5, atol=1e-12)
    assert b2 is not None


@pytest.mark.parametrize(
    "question",
    [
        {"kind": "change", "data": {"999": {"add": 1}}},
        {"kind": "change", "data": {"-1": {"add": 1}}},
        {"kind": "change", "data": {"0": {"set": [[99, 1]]}}},
        {"kind": "change", "stop": [[0, 0]]},
        {"kind": "change", "ablate": [[7, 0]]},
        {"kind": "change", "data": {"0": {"add": "x"}}},
        {"kind": "run", "code": "1"},
        {},
    ],
)
def test_a_wrong_question_is_an_error_in_words(knobs, question):
    with pytest.raises((ValueError, TypeError)) as raised:
        knobs.answer(question)
    assert str(raised.value)


def test_the_code_means_one_of_several_leaves_of_a_name():
    one, other = (Tensor(x, requires_grad=True, name="w") for x in (2.0, 3.0))
    y = one * other
    for leaf, changed in (0, 15.0), (1, 12.0):
        names = {"y": y}
        exec(ask(Knobs(steps(y), "y"), kind="code", data={leaf: {"add": 3.0}})["code"], names)
        assert names["changed"].item() == changed
    y = (lambda w: w * w)(Tensor(2.0, requires_grad=True))
    names = {"y": y}
    exec(ask(Knobs(steps(y), "y"), kind="code", data={0: {"add": 3.0}})["code"], names)
    assert names["changed"].item() == 25.0


def test_code_that_would_go_another_way_is_warned_of():
    x = Tensor(2.0, requires_grad=True, name="x")
    y = x * 3.0 if x > 0 else x * 5.0
    knobs = Knobs(steps(y))
    node = node_named(y, "x").id
    assert ask(knobs, kind="change", data={node: {"add": 1}})["warning"] == ""
    assert (
        "was True when recorded" in ask(knobs, kind="change", data={node: {"add": -5}})["warning"]
    )


# Who may ask


@pytest.fixture
def live():
    G = skip_networks()[1]
    G.backward(np.ones(4))
    with steps(G).live(browser=False) as live:
        yield live


def request(live, method="GET", path=None, body=None, **headers):
    connection = http.client.HTTPConnection("127.0.0.1", live.server.port, timeout=5)
    path = path or f"/?token={live.server.token}"
    connection.request(method, path, body, {k.replace("_", "-"): v for k, v in headers.items()})
    reply = connection.getresponse()
    told = reply.read()
    connection.close()
    return reply.status, reply.headers, told


def test_the_page_is_served_to_whoever_has_the_address(live):
    status, headers, body = request(live)
    assert status == 200
    assert headers["Cache-Control"] == "no-store"
    assert b"Content-Security-Policy" in body
    assert b"connect-src 'self'" in body
    with urllib.request.urlopen(live.url) as reply:
        assert reply.read() == body


@pytest.mark.parametrize(
    ("path", "headers"),
    [
        ("/", {}),
        ("/?token=", {}),
        ("/?token=wrong", {}),
        ("/ask", {}),
        ("/events", {}),
        (None, {"Host": "evil.example"}),
        (None, {"Host": "127.0.0.1:1"}),
        (None, {"Origin": "http://evil.example"}),
        (None, {"Origin": "null"}),
    ],
)
def test_others_are_refused(live, path, headers):
    assert request(live, path=path, **headers)[0] == 403
    assert request(live, "POST", path, body=b"{}", **headers)[0] == 403


def test_a_question_needs_our_origin(live):
    path, body = f"/ask?token={live.server.token}", json.dumps({"kind": "state"})
    own = f"http://127.0.0.1:{live.server.port}"
    assert request(live, "POST", path, body, Origin=own)[0] == 200
    assert request(live, "POST", path, body)[0] == 403
    assert request(live, "POST", path, body, Origin=own + "0")[0] == 403
    assert request(live, "POST", f"/x?token={live.server.token}", body, Origin=own)[0] == 404
    assert request(live, "POST", path, b"[", Origin=own)[0] == 200
    assert b"error" in request(live, "POST", path, b"[", Origin=own)[2]
    assert request(live, "POST", path, b"", Origin=own, Content_Length="2000000")[0] == 413


def test_it_listens_on_loopback_alone(live):
    assert live.server.server_address[0] == "127.0.0.1"
    assert live.url.startswith("http://127.0.0.1:")


def test_it_ends_when_it_is_closed(live):
    port = live.server.port
    assert reachable(port)
    live.close()
    live.close()
    assert not reachable(port)


def test_a_port_that_is_taken_is_an_error_in_words(live):
    with pytest.raises(OSError, match=f"port {live.server.port} of 127.0.0.1 cannot be used"):
        steps(skip_networks()[1], np.ones(4)).live(port=live.server.port, browser=False)


def test_a_slice_has_no_live_page(live):
    with pytest.raises(ValueError, match="not of a slice"):
        steps(skip_networks()[1], np.ones(4))[3:].live(browser=False)


def test_a_notebook_shows_the_page_or_says_why_not(live):
    shown = live._repr_html_()
    assert f'data="{live.url}"' in shown
    assert "cannot be reached from here" in shown
    assert "srcdoc=" in shown


# In a browser


TURN = """
  const slider = document.querySelector(".slider");
  slider.value = arguments[0];
  slider.dispatchEvent(new Event("input"));
  slider.dispatchEvent(new Event("change"));
"""


def opened(browser, live, anchor=""):
    page = Page(browser, "")
    browser.get("about:blank")
    for log in ("browser", "performance"):
        browser.get_log(log)
    browser.get(live.url + anchor)
    return page


def test_the_slider_closes_f3_and_the_skip_takes_over(chromium, live):
    page = opened(chromium, live, "#14")
    page.press("]")
    until(lambda: "W1" in page.text(".told"))
    before = page.text(".told")
    page.run(TURN, "20")
    until(lambda: "skip +100 %" in page.text(".told"))
    assert page.text(".told") != before
    had, sent, now = page.run("""
      return [...document.querySelectorAll("#step .ledger .numbers")].slice(-3).map((e) =>
        [...e.querySelectorAll(".cell")].map((c) => Number(c.textContent.replace("−", "-"))))
    """)
    assert np.allclose(had, 1)
    assert np.allclose(np.add(had, sent), now, atol=2e-3)
    assert "vanishing" in page.text("#legend")
    assert "+100 %" in page.text(".rowpath")
    page.click_in = page.run("document.querySelector('.undo').click()")
    until(lambda: page.text(".told").split(" · ")[1] == before.split(" · ")[1])
    assert not page.problems()


def test_an_arrow_is_cut_by_a_click(chromium, live):
    page = opened(chromium, live, "#21")
    page.run(
        "document.querySelector('[data-wire=\"e16-0\"]').dispatchEvent("
        "new MouseEvent('click', {bubbles: true}))"
    )
    assert page.run("return document.getElementById('branch').open")
    page.run(
        "[...document.querySelectorAll('#branch button')].find(b => b.innerText === 'stop').click()"
    )
    until(lambda: "stopped by you" in page.text("#legend"))
    page.run("document.querySelector('.ends button:last-child').click()")
    until(lambda: "stop_gradient=[edge[16, 0]]" in page.text("#exported"))
    assert not page.problems()


def test_a_branch_is_cut_by_keys_and_the_focus_stays(chromium, live):
    page = opened(chromium, live, "#21")
    page.run("document.querySelector('.node[aria-label^=\"F,\"]').focus()")
    page.press("x")
    assert page.run("return document.getElementById('branch').open")
    names = page.run(
        "return [...document.querySelectorAll('#branch .branch')].map((e) => e.innerText)"
    )
    assert "F → G" in names
    focus = "return document.activeElement.ariaLabel"
    for _ in range(12):
        if page.run(focus) == "F → G: stop":
            break
        page.press("\ue004")
    page.press(" ")
    until(lambda: page.text(".told").startswith("F → G stopped"))
    page.run("document.querySelector('[aria-label=\"F → G: on\"]').focus()")
    page.press(" ")
    until(lambda: page.text(".told").startswith("|"))
    assert page.run(focus) == "F → G: on"
    assert not page.problems()


def test_two_browsers_ask_at_once(chromium, live):
    page = opened(chromium, live, "#21")
    first = chromium.current_window_handle
    chromium.switch_to.new_window("tab")
    try:
        other = opened(chromium, live, "#21")
        other.run(TURN, "20")
        until(lambda: "skip +100 %" in other.text(".told"))
        chromium.switch_to.window(first)
        assert "skip +100 %" not in page.text(".told")
        page.run(TURN, "1")
        until(lambda: "ms" in page.text(".told"))
        assert "skip +100 %" not in page.text(".told")
    finally:
        for handle in chromium.window_handles:
            if handle != first:
                chromium.switch_to.window(handle)
                chromium.close()
        chromium.switch_to.window(first)


def test_the_page_asks_its_own_server_and_nobody_else(chromium, live):
    page = opened(chromium, live, "#3")
    page.run(TURN, "3")
    until(lambda: "ms" in page.text(".told"))
    page.press("\ue014", "p", "w", "d", "\ue010")
    asked = {url.split("?")[0] for url in page.requests()}
    assert asked <= {live.url.split("?")[0] + path for path in ("", "ask", "events")}
    done = (
        "fetch('http://localhost:9/x').then(() => arguments[0]('sent'), () => arguments[0]('no'))"
    )
    assert page.browser.execute_async_script(done) == "no"
    assert any("Content Security Policy" in problem for problem in page.problems())


def test_axe_finds_nothing_serious_with_knobs(chromium, live):
    script = axe()
    page = opened(chromium, live, "#14")
    page.run(TURN, "20")
    until(lambda: "skip +100 %" in page.text(".told"))
    page.run(script)
    found = page.browser.execute_async_script(
        "const done = arguments[0]; axe.run(document).then((r) => done(r.violations.map((v) =>"
        "[v.impact, v.id, v.nodes.slice(0, 3).map((n) => n.target.join(' ') + n.failureSummary)])))"
    )
    assert [one for one in found if one[0] in ("serious", "critical")] == []


def test_a_notebook_elsewhere_shows_the_page_without_a_server(chromium, live, tmp_path):
    host = tmp_path / "notebook.html"
    shown = live._repr_html_()
    live.close()  # so nobody is reached
    host.write_text(f'<!DOCTYPE html><meta charset="utf-8"><title>host</title>{shown}', "utf-8")
    chromium.get(f"file://{host}")
    until(lambda: "cannot be reached" in chromium.find_element("tag name", "body").text)
    frame = chromium.find_element("tag name", "iframe")
    until(lambda: frame.is_displayed() and frame.size["height"] > 300)
    chromium.switch_to.frame(frame)
    try:
        assert "forward 1 of 10" in chromium.find_element("id", "where").text.lower()
    finally:
        chromium.switch_to.default_content()


# A script in a process of its own


@pytest.fixture
def served(tmp_path):
    """`tinygrad-lite live` on a script: (script, process, address)."""
    script = tmp_path / "net.py"
    script.write_text(SCRIPT)
    command = [sys.executable, "-m", "tinygrad_lite", "live", "net.py:G", "--no-browser"]
    package = str(Path(tl.__file__).parent.parent)
    environment = os.environ | {"PYTHONPATH": package, "PYTHONDONTWRITEBYTECODE": "1"}
    process = subprocess.Popen(
        command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, cwd=tmp_path,
        env=environment, encoding="utf-8",
    )  # fmt: skip
    try:
        yield script, process, process.stdout.readline().strip()
    finally:
        if process.poll() is None:
            process.send_signal(signal.SIGINT)
            process.wait(10)
        process.stdout.close()
        process.stderr.close()


def children_of(process):
    found = Path(f"/proc/{process.pid}/task/{process.pid}/children")
    if not found.exists():
        pytest.skip("needs Linux's /proc")
    return found.read_text().split()


def test_the_address_is_one_line_and_ctrl_c_ends_all(served):
    _, process, url = served
    assert url.startswith("http://127.0.0.1:")
    assert "?token=" in url
    children = children_of(process)
    assert len(children) == 1
    process.send_signal(signal.SIGINT)
    assert process.wait(10) == 0
    assert process.stdout.read() == ""
    assert "Traceback" not in process.stderr.read()
    assert not any(Path(f"/proc/{child}").exists() for child in children)


def test_a_killed_server_leaves_no_process_behind(served):
    _, process, _ = served
    children = children_of(process)
    process.kill()
    process.wait(10)
    until(lambda: not any(alive(child) for child in children))


def alive(child):
    try:
        return Path(f"/proc/{child}/stat").read_text().split()[2] != "Z"
    except OSError:
        return False


def test_a_saved_script_is_shown_and_an_error_with_its_line(chromium, served):
    script, _, url = served
    page = opened(chromium, SimpleNamespace(url=url), "#9")
    last = page.run("return document.getElementById('scrub').max")
    script.write_text(SCRIPT.replace("G = F + y", "G = F + yy"))
    until(lambda: "NameError" in page.text(".trouble"), 20)
    assert "net.py, line 13: G = F + yy" in page.text(".trouble")
    assert "the last that went well" in page.text(".trouble")
    page.run(TURN, "3")
    until(lambda: "ms" in page.text(".told"))  # which still answers
    script.write_text(SCRIPT.replace("G = F + y", "G = F + y + y"))
    until(lambda: page.run("return document.getElementById('scrub')?.max") != last, 20)
    assert page.text(".trouble") == ""


def test_what_is_changed_stays_over_a_reload_of_the_page_and_of_the_script(chromium, served):
    script, _, url = served
    page = opened(chromium, SimpleNamespace(url=url), "#9")
    page.run("const s = document.querySelector('.knob'); s.selectedIndex = 2; s.onchange()")  # W3
    page.run(TURN, "3")
    stop = "[...document.querySelectorAll('.branches button')].find(b => b.innerText === 'stop')"
    page.run(f"{stop}.click()")
    changed = "W3 + 3 · F → G stopped"
    until(lambda: page.text(".told").startswith(changed))
    page.browser.refresh()
    until(lambda: page.text(".told").startswith(changed))
    until(lambda: "ms" in page.text(".told"))  # it was asked for again
    assert page.run("return document.querySelector('.knob').selectedOptions[0].text") == "W3 (4×4)"
    # The same network with one value more before it: all nodes have other numbers.
    script.write_text(SCRIPT.replace("sigmoid(W2 @ x)", "sigmoid(W2 @ (x * 1.5))"))
    until(lambda: "x * 1.5" in page.text("#code"), 20)
    until(lambda: page.text(".told").startswith(changed))
    page.run("document.querySelector('.undo').click()")
    until(lambda: page.text(".told").startswith("W3 + 3 · |"))
    page.run("document.querySelector('.undo').click()")
    until(lambda: page.text(".told").startswith("|"))
    page.run(TURN, "3")
    script.write_text(SCRIPT.replace('"W3"', '"V3"'))
    until(lambda: "1 of your changes has no place" in page.text("#said"), 20)
    assert page.text(".told").startswith("|")


@pytest.mark.parametrize(
    ("text", "status", "words"),
    [
        ("G = 1 / 0", 1, "ZeroDivisionError"),
        ("G = 1", 2, "is not a Tensor"),
        ("raise SystemExit(3)", 1, "ended with an error"),
    ],
)
def test_a_script_that_fails_at_first_ends_with_its_error(tmp_path, text, status, words):
    (tmp_path / "net.py").write_text(text)
    command = [sys.executable, "-m", "tinygrad_lite", "live", "net.py:G", "--no-browser"]
    environment = os.environ | {"PYTHONPATH": str(Path(tl.__file__).parent.parent)}
    done = subprocess.run(command, cwd=tmp_path, env=environment, capture_output=True, text=True)
    assert (done.returncode, done.stdout) == (status, "")
    assert words in done.stderr


def test_what_the_script_prints_and_reads_stays_out_of_the_answers(tmp_path):
    (tmp_path / "net.py").write_text(
        SCRIPT
        + "print('hello')\nimport sys, os\nassert sys.stdin.read() == ''\nos.write(1, b'x')\n"
    )
    command = [sys.executable, "-m", "tinygrad_lite.worker", "net.py:G", "[[], null]"]
    environment = os.environ | {"PYTHONPATH": str(Path(tl.__file__).parent.parent)}
    question = json.dumps({"kind": "state"}) + "\n"
    process = subprocess.Popen(
        command, cwd=tmp_path, env=environment, text=True, start_new_session=True,
        stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE,
    )  # fmt: skip
    assert set(json.loads(process.stdout.readline())) == {"page", "files"}
    process.stdin.write(question)
    process.stdin.flush()
    assert json.loads(process.stdout.readline()) == {}
    process.stdin.close()
    assert process.stdout.read() == ""
    process.wait(10)
    process.stdout.close()
    process.stderr.close()


def test_a_deep_net_is_answered_without_a_layout(monkeypatch):
    y, _, _ = deep_net(50, skip=True)
    y.backward()
    knobs = Knobs(steps(y))
    knobs.page()
    monkeypatch.setattr("tinygrad_lite.views.page_data.svg", None)
    answer = ask(knobs, kind="change", data={node_named(y, "x").id: {"add": 1}}, at=9)
    assert answer["nodes"]
    assert sum("outline" not in step for step in answer["steps"]) == 1


@pytest.mark.parametrize("blocks", [4, 50])  # folded when asked, and by itself
def test_folded_boxes_follow_or_say_that_they_do_not(blocks):
    y, _, _ = deep_net(blocks, skip=True)
    y.backward()
    knobs, x = Knobs(steps(y)), node_named(y, "x")
    view = next(i for i, shown in enumerate(knobs.drawn) if shown.folding)
    answer = ask(knobs, kind="change", data={x.id: {"add": 1}}, view=view)
    now = diagrams(graph(replay(y, {"x": x.value + 1}), np.ones(())))[view]
    wanted = {box.id: [list(box.lines), list(box.below)] for box in now.boxes}
    assert {id: [lines, below] for id, lines, below, _ in answer["views"][0]["texts"]} == wanted
    before = {box.id: [list(box.lines), list(box.below)] for box in knobs.drawn[view].boxes}
    assert wanted != before
    assert "folded" not in answer["warning"]
    (skip, *_) = (edge for edge in knobs.graph.edges if edge.skip)
    answer = ask(knobs, kind="change", ablate=[[skip.target, skip.slot]], view=view)
    assert not answer["views"][0]["texts"]
    assert "folded boxes say no numbers" in answer["warning"]


def test_a_browser_is_opened_where_there_is_a_screen(monkeypatch):
    opened = []
    monkeypatch.setattr("webbrowser.open", opened.append)
    G = skip_networks()[1]
    G.backward(np.ones(4))
    for browser, screen, expected in (
        (None, ":0", 1),
        (None, "", 0),
        (True, "", 1),
        (False, ":0", 0),
    ):
        monkeypatch.setenv("DISPLAY", screen)
        monkeypatch.delenv("WAYLAND_DISPLAY", raising=False)
        if sys.platform in ("win32", "darwin") and browser is None:
            continue
        opened.clear()
        with steps(G).live(browser=browser) as live:
            deadline = time.monotonic() + 2
            while len(opened) < expected and time.monotonic() < deadline:
                time.sleep(0.01)
            assert opened == [live.url] * expected
