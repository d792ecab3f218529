"""lab/guest.py, lab/qemu.py, lab/served.py, lab/checkout.py with processes that only play QEMU and the models."""

from __future__ import annotations

import base64
import itertools
import json
import shutil
import socket
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from base.debian import DebianError
from base.errors import GpumendError, InvalidData, Unavailable, UsageError
from lab import checkout, guest, qemu, served
from lab.guest import Done, Guest, GuestEnded, GuestTimeout
from lab.parts import Kernel, Parts
from lab.qemu import Machine, Qemu
from lab.tree import Tree

Talk = Callable[[socket.socket], None]
PARTS = Parts(
    qemu=Tree(Path("/q")),
    kernel=Kernel("7.3", Path("/k/vmlinuz"), Path("/k/modules.cpio")),
    guest=Path("/g/guest.cpio"),
    guest_tree=Tree(Path("/g/tree")),
    firmware=Path("/f/firmware.cpio"),
    versions={},
    folder=Path("/cache"),
)


def line(**document: Any) -> bytes:
    return json.dumps(document).encode() + b"\n"


def b64(data: bytes) -> str:
    return base64.b64encode(data).decode()


@pytest.fixture
def play(tmp_path: Path) -> Iterator[Callable[..., Guest]]:
    """A guest whose other end is played by a function, and whose QEMU is a process that sleeps (or `runs`)."""
    made: list[tuple[Guest, threading.Thread, socket.socket]] = []

    def make(talk: Talk, *, runs: str = "exec sleep 60", console: str = "") -> Guest:
        ours, its = socket.socketpair()
        (tmp_path / "console.log").write_text(console)
        with (tmp_path / "qemu.err").open("wb") as errors:
            process = subprocess.Popen(["sh", "-c", runs], stderr=errors)
        machine = Qemu(process, ours, tmp_path / "console.log", tmp_path / "qemu.err")
        thread = threading.Thread(target=talk, args=[its])
        thread.start()
        it = Guest(machine, None, tmp_path)
        made.append((it, thread, its))
        return it

    yield make
    for it, thread, its in made:
        it.machine.kill()
        thread.join(5)
        its.close()


def answers(*documents: bytes) -> Talk:
    """Takes one request, then says these lines."""

    def talk(port: socket.socket) -> None:
        port.recv(1 << 16)
        for document in documents:
            port.sendall(document)

    return talk


def silent(port: socket.socket) -> None:
    port.settimeout(5)
    try:
        while port.recv(1 << 16):
            pass
    except OSError:
        pass


def test_run_passes_output_on_and_gives_the_exit_code(play: Callable[..., Guest]) -> None:
    out = [line(stream=1, data=b64(b"one ")), line(stream=2, data=b64(b"err")), line(stream=1, data=b64(b"two"))]
    told: list[tuple[int, bytes]] = []
    done = play(answers(*out, line(exit=5))).run(["x"], output=lambda number, data: told.append((number, data)))
    assert (done.exit_code, done.stdout, done.stderr, done.timed_out) == (5, b"one two", b"err", False)
    assert told == [(1, b"one "), (2, b"err"), (1, b"two")]


def test_run_that_was_killed_at_its_limit_says_so(play: Callable[..., Guest]) -> None:
    assert play(answers(line(exit=124, timed_out=True))).run(["x"]).timed_out


def test_run_in_a_guest_that_hangs_is_given_up_and_the_guest_killed(
    play: Callable[..., Guest], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(guest, "MARGIN_S", 0.2)
    it = play(silent, console="first\nlast words\n")
    with pytest.raises(GuestTimeout, match=r"expected  an answer within 0 s(.|\n)*console: last words"):
        it.run(["x"], limit_s=0.1)
    assert it.machine.ended is not None


def test_boot_that_takes_too_long_is_given_up(play: Callable[..., Guest]) -> None:
    with pytest.raises(GuestTimeout, match="booting the guest failed"):
        play(silent).wait_up(0.1)


def test_boot_of_a_guest_that_is_up_takes_its_time(play: Callable[..., Guest]) -> None:
    it = play(lambda port: port.sendall(line(up=1.5)))
    it.wait_up(5)
    assert 0 < it.boot_s < 5


def test_panic_is_told_with_the_oops_before_it(play: Callable[..., Guest]) -> None:
    oops = "BUG: kernel NULL pointer dereference, address: 0000000000000828"
    console = f"{oops}\r\nKernel panic - not syncing: Fatal exception\r\n"
    it = play(lambda port: port.close(), runs="exit 0", console=console)
    with pytest.raises(GuestEnded) as caught:
        it.run(["modprobe", "amdgpu"])
    assert caught.value.seen.startswith("Kernel panic - not syncing: Fatal exception; BUG: kernel NULL pointer")
    assert caught.value.doing == "running modprobe amdgpu in the guest"


def test_qemu_that_ends_tells_its_own_words(play: Callable[..., Guest]) -> None:
    it = play(lambda port: port.close(), runs="echo 'qemu: bad device' >&2; exit 1")
    with pytest.raises(GuestEnded, match="QEMU ended with exit status 1: qemu: bad device"):
        it.wait_up(5)


def test_guest_that_powers_off_by_itself_is_told(play: Callable[..., Guest]) -> None:
    with pytest.raises(GuestEnded, match="the guest powered off; QEMU's exit status 0"):
        play(lambda port: port.close(), runs="exit 0").run(["poweroff", "-f"])


@pytest.mark.parametrize("said", [b"\xff\xfe not json\n", b"17\n", b"[]\n"])
def test_garbage_from_the_guest_is_not_taken_for_an_answer(play: Callable[..., Guest], said: bytes) -> None:
    with pytest.raises(InvalidData, match="expected  a JSON object a line from the guest's agent"):
        play(answers(said)).run(["x"])


def test_output_without_end_is_bounded(play: Callable[..., Guest], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(guest, "ANSWER_MOST_BYTES", 1 << 20)

    def flood(port: socket.socket) -> None:
        try:
            for _ in range(200):
                port.sendall(line(stream=1, data=b64(bytes(30_000))))
        except OSError:
            pass

    with pytest.raises(InvalidData, match="at most 1 MiB of output"):
        play(flood).run(["yes"])


def test_write_and_read_move_bytes(play: Callable[..., Guest]) -> None:
    play(answers(line(done=True))).write("/a", b"x")
    assert play(answers(line(data=b64(b"\0\1")))).read("/a") == b"\0\1"


def test_read_of_a_missing_file_tells_the_guests_error(play: Callable[..., Guest]) -> None:
    with pytest.raises(GpumendError, match="seen      FileNotFoundError: /a"):
        play(answers(line(error="FileNotFoundError: /a"))).read("/a")


def test_json_lines_are_read_and_other_lines_named() -> None:
    assert Done(0, b'{"a": 1}\n\n[2]\n', b"", 0.0).json_lines() == [{"a": 1}, [2]]
    with pytest.raises(InvalidData, match=r"line 2: b'oops'"):
        Done(0, b"{}\noops\n", b"", 0.0).json_lines()


def test_boot_that_fails_leaves_no_folder_and_no_models(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    closed: list[str] = []

    class Models:
        sockets: tuple[Path, ...] = ()

        def close(self) -> None:
            closed.append("models")

    def fail(*_: Any) -> Path:
        raise Unavailable("packing", seen="no space left")

    monkeypatch.setattr(served, "serve", lambda *_: Models())
    monkeypatch.setattr(guest, "initrd", fail)
    with pytest.raises(Unavailable, match="no space left"), guest.boot(PARTS, gpus="mi350x"):
        pass
    assert closed == ["models"]
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("error", [OSError(28, "No space left on device"), DebianError("python3: exit 1")])
def test_boot_whose_files_cannot_be_written_tells_where(monkeypatch: pytest.MonkeyPatch, error: Exception) -> None:
    def fail(*_: Any) -> Path:
        raise error

    monkeypatch.setattr(guest, "initrd", fail)
    with pytest.raises(Unavailable, match="TMPDIR") as caught, guest.boot(PARTS):
        pass
    assert str(error) in caught.value.seen


# --- QEMU


def option(words: list[str], name: str) -> list[str]:
    return [value for key, value in itertools.pairwise(words) if key == name]


def test_command_names_tcg_and_shares_the_memory() -> None:
    words = qemu.command(PARTS, Machine(memory_mib=2048), Path("/i"), Path("/c"), 7)
    assert option(words, "-accel") == ["tcg,thread=multi"]
    assert option(words, "-object") == ["memory-backend-memfd,id=ram,size=2048M,share=on"]
    assert option(words, "-append") == ["console=ttyS0 quiet panic=-1 oops=panic rdinit=/init"]
    assert "socket,id=agent,fd=7" in option(words, "-chardev")
    assert "-no-reboot" in words


def test_command_gives_each_gpu_a_root_port_of_its_own() -> None:
    machine = Machine(gpus=(Path("/r/gpu0.sock"), Path("/r/gpu1.sock")))
    devices = option(qemu.command(PARTS, machine, Path("/i"), Path("/c"), 7), "-device")
    assert "pcie-root-port,id=port1,chassis=2,slot=2,x-speed=5" in devices
    last = json.loads(devices[-1])
    assert last == {"driver": "vfio-user-pci", "socket": {"path": "/r/gpu1.sock", "type": "unix"}, "bus": "port1"}


def test_command_with_an_iommu_puts_it_before_all_devices() -> None:
    machine = Machine(iommu=True, append="log_buf_len=16M", gpus=(Path("/r/gpu0.sock"),))
    words = qemu.command(PARTS, machine, Path("/i"), Path("/c"), 7)
    assert option(words, "-device")[0].startswith("intel-iommu,")
    assert option(words, "-append")[0].endswith("intel_iommu=on log_buf_len=16M")


def test_guest_larger_than_the_free_memory_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(qemu, "memory_free_mib", lambda: 1000)
    with pytest.raises(Unavailable, match=r"3072 MiB of free memory\n  seen      1000 MiB"):
        qemu.require_memory(Machine())
    monkeypatch.setattr(qemu, "memory_free_mib", lambda: None)
    qemu.require_memory(Machine())


def test_qemu_without_timeout_is_not_started(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(shutil, "which", lambda name: None)
    with pytest.raises(Unavailable, match="the program timeout"):
        qemu.limited(10)


def test_what_is_started_goes_with_us_even_when_we_are_killed(tmp_path: Path) -> None:
    if not shutil.which("setpriv"):
        pytest.skip("setpriv of util-linux is not on this machine")
    words = [*qemu.limited(60), "sh", "-c", f"echo $$ > {tmp_path}/pid; exec sleep 60"]
    program = f"import subprocess, time; subprocess.Popen({words!r}); time.sleep(60)"
    parent = subprocess.Popen([sys.executable, "-c", program])
    end = time.monotonic() + 20
    pid = tmp_path / "pid"
    while not (pid.exists() and pid.read_text().strip()) and time.monotonic() < end:
        time.sleep(0.02)
    parent.kill()
    parent.wait(5)
    started = Path("/proc") / pid.read_text().strip() / "cmdline"

    def alive() -> bool:
        try:
            return b"sleep" in started.read_bytes()
        except OSError:
            return False

    while alive() and time.monotonic() < end:
        time.sleep(0.02)
    assert not alive()


# --- the models' process


def serve_with(monkeypatch: pytest.MonkeyPatch, program: str) -> None:
    monkeypatch.setattr(served, "command", lambda spec, folder, accesses: [sys.executable, "-c", program, str(folder)])


READY = "import sys, time; open(sys.argv[1] + '/gpu0.sock', 'w').close(); print('ready', flush=True); time.sleep(60)"


def test_served_models_are_waited_for_and_ended(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    serve_with(monkeypatch, READY)
    models = served.serve("mi350x", tmp_path, 60)
    assert models.sockets == [tmp_path / "gpu0.sock"]
    assert models.ended is None
    models.close()
    assert models.ended is not None


def test_served_models_that_die_tell_their_last_words(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    serve_with(monkeypatch, "import sys; sys.exit('no memory files')")
    with pytest.raises(GpumendError, match="exit status 1\nno memory files"):
        served.serve("mi350x", tmp_path, 60)


def test_served_models_without_their_sockets_are_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    serve_with(monkeypatch, READY)
    with pytest.raises(GpumendError, match=r"no socket gpu1.sock"):
        served.serve("mi350x*2", tmp_path, 60)


def test_served_models_that_say_nothing_are_given_up(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(served, "READY_LIMIT_S", 0.2)
    serve_with(monkeypatch, "import time; time.sleep(60)")
    begin = time.monotonic()
    with pytest.raises(GpumendError, match="no line"):
        served.serve("mi350x", tmp_path, 60)
    assert time.monotonic() - begin < 10


def test_served_in_a_folder_with_too_long_a_path_is_refused(tmp_path: Path) -> None:
    folder = tmp_path / ("x" * 120)
    with pytest.raises(Unavailable, match="at most 107 bytes"):
        served.serve("mi350x", folder, 60)


def test_count_of_a_bad_address_is_a_usage_error() -> None:
    assert served.count("mi350x*8?fault=smu-silent@2") == 8
    with pytest.raises(UsageError):
        served.count("mi999x")


# --- the checkout


def test_checkout_is_mirrored_without_what_tools_leave_behind(tmp_path: Path) -> None:
    source, target = tmp_path / "source", tmp_path / "target"
    for name in ("pkg/a.py", "pkg/__pycache__/a.pyc", ".git/config", "docs/x.md"):
        (source / name).parent.mkdir(parents=True, exist_ok=True)
        (source / name).write_text("1")
    (source / "huge").write_bytes(bytes(checkout.LARGEST_BYTES + 1))
    target.mkdir()
    checkout._mirror(source, target)
    assert [str(path.relative_to(target)) for path in sorted(target.rglob("*"))] == ["pkg", "pkg/a.py"]


def test_checkout_that_changed_is_mirrored_again_and_keeps_byte_code(tmp_path: Path) -> None:
    source, target = tmp_path / "source", tmp_path / "target"
    source.mkdir()
    target.mkdir()
    (source / "a.py").write_text("old")
    (source / "b.py").write_text("gone soon")
    checkout._mirror(source, target)
    (target / "__pycache__").mkdir()
    twin = tmp_path / "twin.py"  # a cache that was copied by hard links
    twin.hardlink_to(target / "a.py")
    (source / "a.py").write_text("newer")
    (source / "b.py").unlink()
    checkout._mirror(source, target)
    assert (target / "a.py").read_text() == "newer"
    assert twin.read_text() == "old"
    assert sorted(path.name for path in target.iterdir()) == ["__pycache__", "a.py"]
