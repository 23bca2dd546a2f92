"""The image as its users run it: built from the Dockerfile as it is, hardened, and short of memory."""

from __future__ import annotations

import json
import re
import shutil
import socket
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

import pytest

from proxy import __version__
from tests.support.containers import EMBEDDED, HARDENED, IMAGE, Engine, download
from tests.support.examples import running as running_example
from tests.support.sidecar import ask
from tests.support.sized_origin import sized_origin
from tests.support.tools import ROOT, output, tool

MIB = 1024 * 1024
MOST_IMAGE_BYTES = 60_000_000
CONTAINER_BYTES = 128 * MIB
ARM64 = ("manylinux2014_aarch64", "manylinux_2_17_aarch64", "manylinux_2_28_aarch64")
CONFIG = """
listen: 127.0.0.1:{data}
ops: {{listen: 127.0.0.1:{ops}}}
admin: {{listen: 127.0.0.1:{admin}}}
drain: {{delay: 1s, timeout: 5s}}
origin: {{url: "{origin}"}}
"""

pytestmark = pytest.mark.timeout(400)


def free_ports(count: int) -> list[int]:
    with ExitStack() as stack:
        sockets = [stack.enter_context(socket.create_server(("127.0.0.1", 0))) for _ in range(count)]
        return [int(opened.getsockname()[1]) for opened in sockets]


class Contained:
    """A sidecar in a container on the host's loopback."""

    def __init__(self, engine: Engine, name: str, ports: dict[str, int]) -> None:
        self.engine = engine
        self.name = name
        self.data, self.ops = (f"127.0.0.1:{ports[port]}" for port in ("data", "ops"))

    def metric(self, name: str) -> float:
        found = re.search(
            rf"^{re.escape(name)} (\S+)$", ask(self.ops, "/metrics").body.decode(), re.MULTILINE
        )
        assert found is not None, name
        return float(found[1])


@contextmanager
def contained(
    engine: Engine, folder: Path, origin: str, *flags: str, more: str = "", image: str = IMAGE
) -> Iterator[Contained]:
    ports = dict(zip(("data", "ops", "admin"), free_ports(3), strict=True))
    config = folder / "config"
    config.mkdir(exist_ok=True)
    (config / "config.yaml").write_text(CONFIG.format(**ports, origin=origin) + more)
    environment = f"--env=SIDECACHE_OPS=http://127.0.0.1:{ports['ops']}"
    mount = f"--volume={config}:/etc/sidecache:ro"
    with engine.running("--network=host", *HARDENED, environment, mount, *flags, image=image) as name:
        engine.wait_for_log(name, '"ready"')
        yield Contained(engine, name, ports)


def test_hadolint_finds_nothing_in_the_dockerfile() -> None:
    output(tool("hadolint"), ROOT / "Dockerfile")


def test_every_dependency_has_a_wheel_for_arm64_too(tmp_path: Path) -> None:
    """For amd64 the build below takes nothing but wheels."""
    lock = ROOT / "requirements" / "image.lock"
    download(lock, tmp_path, *ARM64)

    assert len(list(tmp_path.glob("*.whl"))) > 10
    shutil.rmtree(tmp_path)


def test_the_image_says_what_it_is(image: Engine) -> None:
    facts = image.inspect(IMAGE)
    config, labels = facts["Config"], facts["Labels"]

    assert config["User"] == "65532:65532"
    assert config["Entrypoint"] == ["sidecache"]
    assert config["Cmd"] == ["serve", "-c", "/etc/sidecache/config.yaml"]
    assert labels["org.opencontainers.image.title"] == "sidecache"
    assert labels["org.opencontainers.image.version"] == __version__
    assert set(config["ExposedPorts"]) == {"8080/tcp", "9901/tcp", "9902/tcp"}


def test_our_layer_is_small(image: Engine) -> None:
    layers = json.loads(image.podman("history", "--format=json", IMAGE))
    base = max(layers, key=lambda layer: int(layer["size"]))

    assert sum(int(layer["size"]) for layer in layers) - int(base["size"]) <= MOST_IMAGE_BYTES


def test_it_serves_hardened_and_ends_in_good_order(image: Engine, tmp_path: Path) -> None:
    with running_example("shop.py", "--port", "0") as shop:
        flags = (f"--memory={CONTAINER_BYTES}", f"--memory-swap={CONTAINER_BYTES}")
        routes = "routes: [{name: all, match: {path: '/**'}, ttl: 1m}]"
        with contained(image, tmp_path, shop, *flags, more=routes) as sidecar:
            answers = [ask(sidecar.data, "/products/1") for _ in range(2)]
            status = image.podman("exec", sidecar.name, "cat", "/proc/1/status")
            written = image.try_podman("exec", sidecar.name, "touch", "/x", "/opt/sidecache/x")
            healthy = image.try_podman("exec", sidecar.name, "sidecache", "health")
            image.podman("kill", "--signal=TERM", sidecar.name)
            code = image.podman("wait", sidecar.name).strip()
            log = image.try_podman("logs", sidecar.name)

    assert [answer.status for answer in answers] == [200, 200]
    assert "hit" in str(answers[1].field("Cache-Status"))
    assert re.search(r"^Uid:\t65532\t65532\t65532\t65532$", status, re.MULTILINE)
    assert re.search(r"^CapEff:\t0+$", status, re.MULTILINE)
    assert re.search(r"^NoNewPrivs:\t1$", status, re.MULTILINE)
    assert written.stderr.count("Read-only file system") == 2
    assert (healthy.returncode, healthy.stdout) == (0, "ready\n")
    assert code == "0"
    assert '"ended"' in log.stdout + log.stderr


def test_a_faulty_file_ends_it_with_its_faults(image: Engine, tmp_path: Path) -> None:
    folder = tmp_path / "config"
    folder.mkdir()
    (folder / "config.yaml").write_text("origin: {url: 'http://127.0.0.1:1'}\nrutes: []\n")
    mount = f"--volume={folder}:/etc/sidecache:ro"
    done = image.try_podman("run", "--rm", "--pull=never", "--network=none", *HARDENED, mount, IMAGE)

    assert done.returncode == 2
    assert "config.yaml:2:1: " in done.stderr
    assert "routes" in done.stderr


def test_the_embedded_valkey_runs_in_it(image: Engine, tmp_path: Path) -> None:
    image.build(EMBEDDED, "--build-arg=EXTRAS=embedded")
    with running_example("shop.py", "--port", "0") as shop:
        # A memory-backed folder of the pod, as the chart mounts one.
        more = "l2: {url: embedded}\nroutes: [{name: all, match: {path: '/**'}, ttl: 1m, l1_ttl: 1s}]"
        given = ("--tmpfs=/tmp:rw,mode=1777",)
        with contained(image, tmp_path, shop, *given, more=more, image=EMBEDDED) as sidecar:
            ask(sidecar.data, "/products/1")
            end = time.monotonic() + 10
            while "detail=l2" not in str(ask(sidecar.data, "/products/1").field("Cache-Status")):
                assert time.monotonic() < end, "L2 never answered"
                time.sleep(0.1)


def test_other_extras_are_refused(image: Engine) -> None:
    with pytest.raises(AssertionError, match="EXTRAS: expected nothing or embedded, found redis"):
        image.build("localhost/sidecache:none", "--build-arg=EXTRAS=redis")


ENTRY_BYTES = 8_000
ENTRIES = 2_000
SLOW_CLIENTS = 200
LONG_BYTES = 900_000
STREAM_BYTES = 5_000_000


def slow_client(stack: ExitStack, address: str, target: str) -> None:
    """Asks and then reads nothing; little fits into its own buffer."""
    host, _, port = address.partition(":")
    client = stack.enter_context(socket.socket())
    client.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
    client.settimeout(10)
    client.connect((host, int(port)))
    client.sendall(f"GET {target} HTTP/1.1\r\nHost: h\r\n\r\n".encode())


def test_it_stays_within_its_memory_whatever_clients_do(image: Engine, tmp_path: Path) -> None:
    """L1 full to the brim, then 200 clients that read nothing: of answers to store, and to stream.

    The limit is a real one of control groups; which version, the machine decides.
    """
    flags = (f"--memory={CONTAINER_BYTES}", f"--memory-swap={CONTAINER_BYTES}")
    with sized_origin() as origin, contained(image, tmp_path, origin, *flags) as sidecar, ExitStack() as slow:
        process = image.inspect(sidecar.name)["State"]["Pid"]
        for number in range(ENTRIES):
            assert ask(sidecar.data, f"/{number}/{ENTRY_BYTES}").status == 200
        limit, held = (
            sidecar.metric("sidecache_l1_limit_bytes"),
            sidecar.metric('sidecache_l1_bytes{kind="response"}'),
        )
        for number in range(SLOW_CLIENTS):
            length = STREAM_BYTES if number % 2 else LONG_BYTES
            slow_client(slow, sidecar.data, f"/slow{number}/{length}")
        for _ in range(20):
            assert ask(sidecar.ops, "/livez").status == 200
            assert sidecar.metric("sidecache_spool_bytes") <= 0.4 * (CONTAINER_BYTES - 96 * MIB)
            time.sleep(0.2)
        state = image.inspect(sidecar.name)["State"]

    assert limit == int(0.4 * (CONTAINER_BYTES - 96 * MIB))
    assert 0.85 * limit < held <= limit
    assert (state["Status"], state["OOMKilled"], state["Pid"]) == ("running", False, process)
