"""The pod that the chart renders, booted: requests, an edited ConfigMap, and its end under load."""

from __future__ import annotations

import json
import subprocess
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path

import pytest
import yaml

from tests.support.containers import IMAGE, Engine
from tests.support.helm import documents
from tests.support.pods import NAME, Pod, booted
from tests.support.tools import ROOT

pytestmark = pytest.mark.timeout(300)

Boot = Callable[[str], AbstractContextManager[Pod]]

ASK = """
import sys, urllib.request
answer = urllib.request.urlopen("http://127.0.0.1:8080" + sys.argv[1], timeout=10)
print(answer.headers["Cache-Status"])
"""
ASK_UNTIL = """
import sys, time, urllib.request
began = time.monotonic()
url = "http://127.0.0.1:8080" + sys.argv[1]
while sys.argv[2] not in urllib.request.urlopen(url, timeout=10).headers["Cache-Status"]:
    if time.monotonic() - began > 20:
        sys.exit("never")
    time.sleep(0.05)
print(time.monotonic() - began)
"""
RELOAD_SECONDS = 5


@pytest.fixture
def boot(image: Engine, chart: Path, tmp_path: Path) -> Boot:
    """Boots the chart's pod in one of its modes."""
    given = {
        "origin": {
            "image": IMAGE,
            "imagePullPolicy": "Never",
            "command": ["python", "-c", (ROOT / "tests/deploy/pod_origin.py").read_text()],
        },
        "sidecache": {
            "image": {"repository": IMAGE.partition(":")[0], "tag": "test", "pullPolicy": "Never"},
            "drain": {"delaySeconds": 5, "timeoutSeconds": 10},
            "config": {"routes": [{"name": "all", "match": {"path": "/**"}}]},
        },
    }
    file = tmp_path / "values.yaml"
    file.write_text(yaml.safe_dump(given))

    @contextmanager
    def pod_of(mode: str) -> Iterator[Pod]:
        flags = ["--values", str(file), "--set", f"sidecache.mode={mode}"]
        with booted(image, documents(chart, *flags), tmp_path) as pod:
            yield pod

    return pod_of


def ask(pod: Pod, target: str) -> str:
    return pod.exec("origin", "python", "-c", ASK, target).strip()


def test_requests_go_through_the_sidecar_and_policies_follow_the_config_map(
    boot: Boot,
) -> None:
    with boot("native") as pod:
        first, second = ask(pod, "/0/x"), ask(pod, "/0/x")
        pod.exec("sidecache", "sidecache", "purge", "--everything")
        third = ask(pod, "/0/x")
        text = (pod.config.folder / "config.yaml").read_text()
        config = yaml.safe_load(text)
        config["routes"][0]["cache"] = False
        pod.config.publish({"config.yaml": yaml.safe_dump(config)})
        seconds = float(pod.exec("origin", "python", "-c", ASK_UNTIL, "/0/x", "fwd=bypass"))
        pod.config.publish({"config.yaml": "nonsense: true"})
        pod.config.publish({"config.yaml": text})
        back = float(pod.exec("origin", "python", "-c", ASK_UNTIL, "/0/x", "hit"))

    assert first == third == "sidecache; fwd=uri-miss; fwd-status=200; stored"
    assert second.startswith("sidecache; hit; ttl=")
    assert seconds < RELOAD_SECONDS
    assert back < RELOAD_SECONDS


@contextmanager
def under_load(image: Engine) -> Iterator[subprocess.Popen[str]]:
    script = (ROOT / "tests/deploy/pod_load.py").read_text()
    with image.start("exec", f"{NAME}-origin", "python", "-c", script) as load:
        try:
            assert load.stdout is not None
            assert load.stdout.readline() == "under load\n"
            yield load
        finally:
            load.kill()


def result(load: subprocess.Popen[str]) -> dict[str, object]:
    said, _ = load.communicate(timeout=60)
    found: dict[str, object] = json.loads(said)
    return found


def test_a_classic_sidecar_ends_under_load_without_one_failed_request(image: Engine, boot: Boot) -> None:
    """SIGTERM at once, as preStop and SIGTERM follow each other there; the API's own delay keeps it alive."""
    with boot("classic") as pod, under_load(image) as load:
        pod.terminate("sidecache")
        done = result(load)
        code, log = pod.exit_code("sidecache"), pod.log("sidecache")

    assert done["wrong"] == []
    assert int(str(done["right"])) > 100
    assert code == 0
    assert '"ended"' in log


def test_a_native_sidecar_ends_under_load_without_one_failed_request(image: Engine, boot: Boot) -> None:
    """preStop drains while the API goes on; then the API ends, and only then the sidecar gets SIGTERM."""
    with boot("native") as pod, under_load(image) as load:
        pod.exec("sidecache", "sidecache", "drain")
        done = result(load)
        pod.terminate("origin")
        pod.terminate("sidecache")
        code, log = pod.exit_code("sidecache"), pod.log("sidecache")

    assert done["wrong"] == []
    assert int(str(done["right"])) > 100
    assert code == 0
    assert '"ended"' in log
