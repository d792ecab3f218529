"""SMU (MP1 13.0): a mailbox of three words to the power firmware. One message, one answer, or why there is none.

Source: Linux v7.3 pm/swsmu/smu_cmn.c (protocol and response codes), smu13/smu_v13_0.c (check_fw_status, driver table),
smu13/smu_v13_0_6_ppt.c (messages, metrics, unload); amd-bringup.md section 7.

    C2PMSG_66 message (written last)    C2PMSG_82 argument and result    C2PMSG_90 response, 0 while it works"""

from __future__ import annotations

from ctypes import sizeof
from typing import TYPE_CHECKING, Any, Final

from base.errors import GpumendError, UsageError, WaitTimeout
from pcibus.transport import ALL_ONES
from registers.amd.mp_13_0_6 import Mp1
from registers.amd_smn import MP1_FIRMWARE_FLAGS, MP1_FIRMWARE_FLAGS_t

if TYPE_CHECKING:
    from enum import IntEnum

    from amdriver.gmc import Gmc, VramBlock
    from amdriver.gpu import Gpu

MESSAGE_TIMEOUT_S: Final = 2.0  # 20 x 100 ms
BUSY_TIMEOUT_S: Final = 2.0
BUSY_PAUSE_S: Final = 10e-6  # "the client should retry in 10 us"
TABLE_BYTES: Final = 4096  # the largest table, rounded up to a page
METRICS_TIMEOUT_S: Final = 0.1
MODE2_TIMEOUT_S: Final = 20.0  # ten times the time of a message
RESET_MODE1, RESET_MODE2, RESET_LINK = 1, 2, 4  # SMU_RESET_MODE_*

OK, FAILED, UNKNOWN, PREREQUISITE, BUSY = 1, 0xFF, 0xFE, 0xFD, 0xFC
_REFUSALS: Final = {FAILED: "failed", UNKNOWN: "unknown message", PREREQUISITE: "a prerequisite is missing"}

SILENT_NEXT: Final = (
    "the SMU carries out mode1 and mode2, so only a bus reset is left: gpumend reset --method bus-reset"
)
HUNG_NEXT: Final = f"gpumend probe; if it stays so: {SILENT_NEXT}"


class SmuRefused(GpumendError):
    """The SMU answered with a refusal: not a timeout. `code`: 0xFF failed, 0xFE unknown message, 0xFD bad prerequisite."""

    def __init__(self, message: str, argument: int, code: int, where: str) -> None:
        super().__init__(
            f"SMU message {message} ({argument:#x})",
            expected="response 0x1",
            seen=f"response {code:#x} ({_REFUSALS.get(code, 'not a known response')})",
            where=where,
            next_step="another version of the power firmware may know it: gpumend probe shows the version",
            verb="refused by the SMU",
        )
        self.message = message
        self.code = code


class SmuBusy(GpumendError):
    """The SMU kept answering that it is busy with another client."""


class SmuHung(GpumendError):
    """The SMU answered something that is no answer; the kernel takes it for hung from then on."""


class SmuSilent(WaitTimeout):
    """The SMU did not answer, or its firmware does not run."""


class Smu:
    """`version` of the power firmware and `features` are known after hw_init."""

    def __init__(self, gpu: Gpu, gmc: Gmc | None = None) -> None:
        """`gmc`: for the tables that the SMU writes; a GPU that is only to be reset needs none."""
        self.gpu = gpu
        self.gmc = gmc
        self.regs = gpu.block(Mp1, "MP1")
        self.version = 0
        self.messages = _messages(gpu.ip.version_of("MP1"))
        self._table: VramBlock | None = None
        self._alive = False  # it was, when we looked
        self._answered = False  # the last message was, so that none is in the mailbox
        self._hung = False
        self.posted_s = 0.0  # when the last message was handed over

    # ---- verbs

    def sw_init(self) -> None:
        """Memory for the tables that the SMU writes."""
        assert self.gmc is not None, "made without memory"
        self._table = self.gmc.alloc_vram(TABLE_BYTES, owner="SMU tables")

    def hw_init(self) -> None:
        """Is it alive, which version, where do its tables go; then everything that it can regulate on."""
        assert self._table is not None, "sw_init comes first"
        if not self._alive:
            self.require_alive()
        self.version = self.message("GetSmuVersion")
        self.message("SetDriverDramAddrHigh", self._table.mc_addr >> 32, answer=False)
        self.message("SetDriverDramAddrLow", self._table.mc_addr & 0xFFFFFFFF, answer=False)
        self.message("EnableAllSmuFeatures", answer=False)

    def hw_fini(self) -> None:
        """Tell it that the driver goes: it must not write to our tables any more."""
        self.message("PrepareForDriverUnload", answer=False)

    def sw_fini(self) -> None:
        """Give the memory back; twice is as good as once."""
        if self._table is not None:
            self._table.free()
            self._table = None

    # ---- mailbox

    def message(
        self, name: str, argument: int = 0, *, answer: bool = True, timeout_s: float = MESSAGE_TIMEOUT_S
    ) -> int:
        """Send a message and give its result (0 with `answer=False`, which saves a read).

        Raises UsageError (this SMU's table has no such message), SmuRefused, SmuBusy (busy for too long), SmuSilent,
        SmuHung, DeviceLost."""
        number = self.number(name)
        if not 0 <= argument <= 0xFFFFFFFF:
            raise UsageError(f"SMU message {name}", expected="an argument of 32 bits", seen=f"{argument:#x}")
        self._wait_free(name, timeout_s)
        deadline = self.gpu.clock.now() + BUSY_TIMEOUT_S
        pause = BUSY_PAUSE_S
        while True:
            code = self._send(name, number, argument, timeout_s)
            if code != BUSY:
                break
            if self.gpu.clock.now() >= deadline:
                raise self._busy(name, argument)
            self.gpu.clock.sleep(pause)
            pause = min(2 * pause, 10e-3)
        self._judge(name, argument, code)
        return self.regs.MP1_SMN_C2PMSG_82.read().value if answer else 0

    def number(self, name: str) -> int:
        """The number of a message in this SMU's table; UsageError when it has none of that name."""
        try:
            return int(self.messages[name])
        except KeyError:
            version = ".".join(map(str, self.gpu.ip.version_of("MP1")))
            raise UsageError(
                f"SMU message {name!r}",
                expected=f"a message that MP1 {version} has",
                seen="no such message",
                where=self.gpu.name,
            ) from None

    def require_alive(self) -> None:
        """SmuSilent when the power firmware does not run, before a message is risked."""
        flags = MP1_FIRMWARE_FLAGS_t(self.gpu.access.smn_read(MP1_FIRMWARE_FLAGS))
        if flags.value == ALL_ONES:
            self.gpu.require_present("looking for the power firmware")
        self._alive = bool(flags.INTERRUPTS_ENABLED) and flags.value != ALL_ONES
        if self._alive:
            return
        raise SmuSilent(
            "looking for the power firmware",
            expected="MP1_FIRMWARE_FLAGS.INTERRUPTS_ENABLED=1",
            seen=str(flags),
            where=f"SMN {MP1_FIRMWARE_FLAGS:#010x} on {self.gpu.name}",
            next_step=SILENT_NEXT,
        )

    def _wait_free(self, name: str, timeout_s: float) -> None:
        """Wait for the answer to somebody's message before ours; SmuHung when it gave none that is valid before."""
        if self._hung:
            raise SmuHung(
                f"SMU message {name}",
                expected="an SMU that answers",
                seen="it gave no valid answer before",
                where=self.gpu.name,
                next_step=HUNG_NEXT,
                verb="not sent",
            )
        if self._answered or self.regs.MP1_SMN_C2PMSG_90.read().value:
            return
        # After a reset the mailbox holds 0 until the first message: without one, there is nothing to wait for.
        if self.regs.MP1_SMN_C2PMSG_66.read().value:
            self._wait(f"waiting for the SMU before {name}", timeout_s)

    def _send(self, name: str, number: int, argument: int, timeout_s: float) -> int:
        regs = self.regs
        self._answered = False
        regs.MP1_SMN_C2PMSG_90.write(0)
        regs.MP1_SMN_C2PMSG_82.write(argument)
        regs.MP1_SMN_C2PMSG_66.write(number)
        self.posted_s = self.gpu.clock.now()
        code = self._wait(f"SMU message {name} ({argument:#x})", timeout_s)
        self._answered = True
        return code

    def _wait(self, doing: str, timeout_s: float) -> int:
        register = self.regs.MP1_SMN_C2PMSG_90
        try:
            return self.gpu.wait(
                lambda: register.read().value,
                lambda code: code != 0,
                doing=doing,
                expected="C2PMSG_90 not 0",
                timeout_s=timeout_s,
                where=register.where,
                next_step=HUNG_NEXT,
                show=lambda code: f"C2PMSG_90={code:#x}",
            )
        except WaitTimeout as late:
            raise SmuSilent(
                late.doing, expected=late.expected, seen=late.seen, where=late.where, next_step=late.next_step
            ) from late

    def _judge(self, name: str, argument: int, code: int) -> None:
        if code == OK:
            return
        where = self.regs.MP1_SMN_C2PMSG_90.where
        if code in _REFUSALS:
            raise SmuRefused(name, argument, code, where)
        if code == ALL_ONES:
            self.gpu.require_present(f"SMU message {name}")
        self._hung = True
        raise SmuHung(
            f"SMU message {name} ({argument:#x})",
            expected="response 0x1",
            seen=f"response {code:#x}, which is none",
            where=where,
            next_step=HUNG_NEXT,
        )

    def _busy(self, name: str, argument: int) -> SmuBusy:
        return SmuBusy(
            f"SMU message {name} ({argument:#x})",
            expected=f"response 0x1 within {BUSY_TIMEOUT_S:g} s",
            seen=f"response {BUSY:#x} (busy with another client) each time",
            where=self.regs.MP1_SMN_C2PMSG_90.where,
            next_step="who else talks to the SMU (BMC, another driver)? then gpumend probe",
        )

    # ---- resets (amd-resets.md sections 3 and 4)

    def reset_whole(self, *, link: bool = False, fatal: bool = False) -> None:
        """mode1 (or, with `link`, of the link): the SMU answers, then the chip goes down. No BAR may be touched for 500 ms.

        `fatal`: tell the firmware that a fatal error came before."""
        self.message("GfxDriverReset", RESET_LINK if link else RESET_MODE1 | int(fatal) << 16, answer=False)

    def begin_mode2(self) -> None:
        """Ask for mode2, which is answered when it is over: no BAR may be touched for 200 ms, then `await_mode2`."""
        name = "GfxDriverReset"
        self._wait_free(name, MESSAGE_TIMEOUT_S)
        self._answered = False
        self.regs.MP1_SMN_C2PMSG_90.write(0)
        self.regs.MP1_SMN_C2PMSG_82.write(RESET_MODE2)
        self.regs.MP1_SMN_C2PMSG_66.write(self.number(name))
        self.posted_s = self.gpu.clock.now()

    def await_mode2(self, timeout_s: float = MODE2_TIMEOUT_S) -> None:
        """Until the SMU says that mode2 is over. Raises SmuSilent, SmuRefused, SmuHung."""
        code = self._wait("waiting for the end of mode2", timeout_s)
        self._answered = True
        self._judge("GfxDriverReset", RESET_MODE2, code)

    def reset_complete(self) -> None:
        """After mode2, when the RLC runs again: the firmware needs it to finish."""
        self.message("GfxDriverResetRecovery", answer=False)

    # ---- what it tells

    def features(self) -> int:
        """What the SMU regulates now: bit n is feature n of its FEATURE_LIST_e."""
        high = self.message("GetEnabledSmuFeaturesHigh")
        return high << 32 | self.message("GetEnabledSmuFeaturesLow")

    def metrics(self) -> Any:
        """Temperatures, power, clocks: the table of this SMU's version, as a structure (registers/amd/structs_smu_*).

        Waits until the SMU has filled it for the first time."""
        assert self._table is not None, "sw_init comes first"
        table, kind = self._table, _metrics_kind(self.gpu.ip.version_of("MP1"))

        def read() -> Any:
            self.message("GetMetricsTable", answer=False)
            return kind.from_buffer_copy(table.read(0, sizeof(kind)))

        return self.gpu.wait(
            read,
            lambda told: told.AccumulationCounter != 0,
            doing="reading the SMU's metrics",
            expected="AccumulationCounter not 0",
            timeout_s=METRICS_TIMEOUT_S,
            next_step="gpumend probe",
            show=lambda told: f"AccumulationCounter={told.AccumulationCounter}",
            first_pause_s=1e-3,
        )


def _messages(version: tuple[int, int, int]) -> dict[str, IntEnum]:
    """The message table of an MP1 version; 13.0.14 has that of 13.0.6."""
    if version == (13, 0, 12):
        from registers.amd.structs_smu_13_0_12 import Message as Messages12

        return dict(Messages12.__members__)
    from registers.amd.structs_smu_13_0_6 import Message as Messages6

    return dict(Messages6.__members__)


def _metrics_kind(version: tuple[int, int, int]) -> Any:
    """smu_v13_0_6_get_metrics_version: discrete parts have V0, 13.0.12 its own."""
    if version == (13, 0, 12):
        from registers.amd.structs_smu_13_0_12 import MetricsTable_t

        return MetricsTable_t
    from registers.amd.structs_smu_13_0_6 import MetricsTableV0_t

    return MetricsTableV0_t
