"""A GPU under our driver: opened step by step from whatever state it is in, closed so that any driver can start it again.

    with Device.open(transport, clock) as device:
        device.start_state          # cold, clean or dirty: told before anything was written
        device.steps                # what was done, by name
        device.sdma.queues[0].copy(...)

The steps, and what each may do:

    discovery       read the discovery table (memory decoding is switched on for it if it was off)
    firmware        find, parse and check every file
    start-state     look: cold, left clean by us, dirty; or sick, which is refused with the action to take
                    --- up to here nothing was written ---
    memory          mark the GPU as in use; dirty: bus master off; memory of all blocks
    stop            dirty only: IH, SDMA engines, queues, MEC and the PSP's ring stopped
    pci             bus master on, legacy interrupt off
    nbio gmc ih
    psp-bootloader psp-sos      cold only
    psp-ring psp-tmr psp-firmware psp-ta      after a clean end with the same firmware, psp-firmware has nothing to do
    smu gfx sdma marks

Marks in the scratch registers of the first XCC tell the states apart: SCRATCH_REG7 says that it was us, SCRATCH_REG6 is 1
from before the first write until after a clean close, SCRATCH_REG5 is the checksum of the firmware that was loaded, and
SCRATCH_REG4 counts the components that the bootloader was given (it takes none twice). The kernel's driver leaves these
registers alone, so a clean close leaves one more mark, in a register that amdgpu overwrites.

Source: Linux v7.3 amdgpu_device.c (order of blocks), soc15.c (soc15_need_reset_on_init), amdgpu_psp.c (psp_hw_fini);
amd-bringup.md section 3, amdgpu-on-model.md items 64 and 65, DESIGN section 5."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from contextlib import suppress
from enum import StrEnum
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, Final, Protocol, Self, cast

from amdriver import firmware_set
from amdriver.access import Access
from amdriver.discovery import validate
from amdriver.discovery_locate import KERNEL_BOOT_WAIT_S, locate
from amdriver.firmware_set import FirmwareSet
from amdriver.gmc import Gmc
from amdriver.gpu import Gpu
from amdriver.ih import Ih
from amdriver.nbio import Nbio
from amdriver.ownership import Owned
from amdriver.parts import part_of
from amdriver.psp import HANDSHAKE_S, IFWI_TIMEOUT_S, READY, SOS_TIMEOUT_S, BootloaderRefused, Psp
from amdriver.smu import MESSAGE_TIMEOUT_S, Smu, SmuHung, SmuSilent
from amdriver.xgmi import Xgmi
from base.clock import Clock
from base.errors import DeviceLost, GpumendError, Refused, Unavailable, WaitTimeout
from base.findings import Action, Finding, Severity
from pcibus.config import is_lost, why_all_ones
from pcibus.configstate import SavedConfig, bus_master_off
from pcibus.transport import ALL_ONES, Can, FunctionInfo, InterruptSource, Transport
from registers.amd.gc_9_4_3 import Gc
from registers.amd.mp_13_0_6 import Mp0, Mp1

if TYPE_CHECKING:
    from amdriver.discovery_locate import Located
    from amdriver.gfx import Gfx
    from amdriver.ip_map import IpMap
    from amdriver.parts import Part
    from amdriver.sdma import Sdma

MAGIC: Final = 0x676D0001  # "gm", version 1 of what the marks mean
READ_STEPS: Final = ("discovery", "firmware", "start-state")
WRITE_STEPS: Final = (
    "memory", "stop", "pci", "nbio", "gmc", "ih", "psp-bootloader", "psp-sos", "psp-ring", "psp-tmr", "psp-firmware",
    "psp-ta", "smu", "gfx", "sdma", "marks",
)  # fmt: skip
STEPS: Final = READ_STEPS + WRITE_STEPS
MODE2_STEPS: Final = ("engines off", "mode2", "config", "firmware", "engines on")
MODE2_QUIET_S: Final = 0.2  # no BAR may be touched for so long

BOOTLOADER_LOOK_S: Final = 2.0  # for a bootloader to be ready; loading waits longer, as memory is trained meanwhile
_COMMAND: Final = 4  # config space: offset of the command register, and its bits
_MEMORY: Final = 0x2
_BUS_MASTER: Final = 0x4
_INTX_OFF: Final = 0x400
_RELOADS: Final = ((13, 0, 6), (13, 0, 14))  # psp_v13_0_is_reload_needed
_KEEPERS: Final = frozenset(("vfio-pci", "pci-stub", "uio_pci_generic"))  # kernel drivers that leave the device alone


class StartState(StrEnum):
    """How the GPU was found."""

    COLD = "cold"  # the secure OS does not run, the bootloader waits for it
    CLEAN = "clean"  # we had it last and closed it, and no fault has been latched since
    DIRTY = "dirty"  # something runs, or we were interrupted, or another driver had it


class Sick(Refused):
    """A GPU that cannot be started as it is. `action` is what would help; nothing was written to it."""

    def __init__(
        self, code: str, what: str, action: Action, *, expected: str, seen: str, where: str, next_step: str
    ) -> None:
        super().__init__(what, expected=expected, seen=seen, where=where, next_step=next_step)
        self.finding_code = code
        self.action = action


class _Block(Protocol):
    """The verbs of a block, as the kernel has them."""

    def sw_init(self) -> None: ...

    def hw_init(self) -> None: ...

    def hw_fini(self) -> None: ...

    def sw_fini(self) -> object: ...


class Device:
    """Made by `Device.open`. One thread at a time may use it; which, does not matter."""

    gpu: Gpu
    firmware: FirmwareSet
    nbio: Nbio
    gmc: Gmc
    ih: Ih
    psp: Psp
    smu: Smu
    gfx: Gfx
    sdma: Sdma
    start_state: StartState

    def __init__(
        self,
        transport: Transport,
        clock: Clock,
        *,
        firmware_dirs: Sequence[Path] | None = None,
        features: Iterable[str] = (),
        on_step: Callable[[str], None] | None = None,
        after_mode2: bool = False,
        slot: int | None = None,
    ) -> None:
        """`Device.open` is the way in: this touches nothing, and `start` does the work."""
        self.clock = clock
        self.steps: list[str] = []
        self.reused_firmware = False
        self.notes: list[str] = []  # what is odd and was gone on with
        self.xgmi: Xgmi | None = None
        self.left: tuple[str, ...] = ()  # after close: allocations that their owners had not freed
        self._transport = transport
        self._firmware_dirs = firmware_dirs
        self._features = tuple(features)
        self._on_step = on_step or (lambda name: None)
        self._after_mode2 = after_mode2
        self._slot = slot
        self._owned: Owned | None = None
        self._command_found: int | None = None
        self._interrupts: InterruptSource | None = None
        self._writing = False
        self._sos_alive = False
        self._made = False  # gpu and gmc are there
        self._blocks: list[_Block] = []

    @classmethod
    def open(
        cls,
        transport: Transport,
        clock: Clock,
        *,
        firmware_dirs: Sequence[Path] | None = None,
        features: Iterable[str] = (),
        on_step: Callable[[str], None] | None = None,
        after_mode2: bool = False,
        slot: int | None = None,
    ) -> Self:
        """Start the GPU. `firmware_dirs`: default as `firmware.store.search_dirs`; `features`: those of
        `firmware_set.FEATURES` that are needed; `on_step` is called with the name of each step before it; `after_mode2`:
        the SMU waits for the end of a mode2 that the caller began; `slot`: which part of the address space (Gmc).

        Raises Refused (lock held: by whom; driver bound; VF, APU or unknown part; sick: with the action), Unavailable
        (firmware missing, DeviceLost), InvalidData, WaitTimeout and what the blocks raise; `error.step` names the step.
        On any error everything is freed, and the device is left so that the next start sees what happened."""
        device = cls(
            transport,
            clock,
            firmware_dirs=firmware_dirs,
            features=features,
            on_step=on_step,
            after_mode2=after_mode2,
            slot=slot,
        )
        device.start()
        return device

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if error is None:
            self.close()
            return
        with suppress(GpumendError):  # what happened inside is the news
            self.close()

    def __repr__(self) -> str:
        state = "open" if self._owned is not None else "closed"
        return f"<Device {self._transport.name}: {state}, steps {len(self.steps)}>"

    @property
    def is_open(self) -> bool:
        return self._owned is not None

    # ---- opening

    def start(self) -> None:
        """See `open`."""
        info = self._transport.info()
        part = require_drivable(self._transport.name, info)
        # Whoever resets a GPU holds it already, and keeps it.
        self._owned = self._transport if isinstance(self._transport, Owned) else Owned(self._transport)
        try:
            self._look(part)
            self._writing = True
            self._bring_up()
        except BaseException:
            self._abort()
            raise

    def _look(self, part: Part) -> None:
        """The steps that write nothing."""
        assert self._owned is not None
        access = Access(self._owned)
        self._step("discovery", lambda: self._discover(access, part))
        self._step("firmware", self._load_firmware)
        self._step("start-state", self._judge)

    def _bring_up(self) -> None:
        cold = self.start_state is StartState.COLD
        dirty = self.start_state is StartState.DIRTY
        self._step("memory", lambda: self._allocate(dirty))
        if dirty:
            self._step("stop", self._stop)
        self._step("pci", self._enable_pci)
        self._step("nbio", self.nbio.hw_init)
        self._step("gmc", lambda: self.gmc.hw_init(cold=cold))
        self._step("ih", self._start_interrupts)
        if not self._sos_alive:
            self._step("psp-bootloader", self._start_bootloader)
            self._step("psp-sos", self.psp.start_sos)
        self._step("psp-ring", self.psp.create_ring)
        self._step("psp-tmr", self.psp.setup_tmr)
        self._step("psp-firmware", self._psp_firmware)
        self._step("psp-ta", self._psp_applications)
        self._step("smu", self.smu.hw_init)
        self._step("gfx", self._start_gfx)
        self._step("sdma", self.sdma.hw_init)
        self._step("marks", self._mark_ready)

    def _step(self, name: str, work: Callable[[], None]) -> None:
        """Do one step. An error of it carries the step's name, and after the first write also what to do next."""
        self.steps.append(name)
        self._on_step(name)
        try:
            work()
        except GpumendError as error:
            self._explain(error, name)
            raise

    def _explain(self, error: GpumendError, step: str) -> None:
        error.__dict__["step"] = step
        error.where = f"{error.where}, step {step}" if error.where else f"{self._transport.name}, step {step}"
        if not self._writing or isinstance(error, DeviceLost):
            return
        silent = isinstance(error, SmuSilent | SmuHung) or (step == "psp-bootloader" and isinstance(error, WaitTimeout))
        action = self._whole_reset()
        if action is Action.RESTORE_CONFIG:
            error.seen = f"{error.seen}; registers read 0xffffffff, config space answers"
            error.next_step = f"gpumend reset --method {action}; gpumend probe tells more"
        elif silent:
            action = Action.BUS_RESET
        error.__dict__.setdefault("action", action)
        if isinstance(error, BootloaderRefused) and self.start_state is StartState.DIRTY:
            error.next_step = f"an interrupted start left the bootloader half way: gpumend reset --method {action}"
        if str(action) not in error.next_step:
            advice = f"start again, and if it fails again: gpumend reset --method {action}"
            error.next_step = f"{error.next_step}; {advice}" if error.next_step else advice

    # ---- step discovery

    def _discover(self, access: Access, part: Part) -> None:
        # VFIO: from here on the device is ours, and it is as the kernel's reset of it (if any) left it.
        getattr(self._transport, "acquire", lambda: None)()
        if self._transport.config_read(0, 4) == ALL_ONES and is_lost(self._transport):
            raise _lost(self._transport.name)
        self._enable_memory()
        # Opening through VFIO may have reset it: its boot firmware writes the table.
        found = locate(access, self.clock, part=part, boot_wait_s=KERNEL_BOOT_WAIT_S)
        validation = validate(found.blob, vram_size_bytes=found.vram_size_bytes) if found.blob else None
        if validation is None or validation.ip_map is None:
            raise self._bad_discovery(found, validation.findings if validation else ())
        self._make_blocks(access, part, validation.ip_map)

    def _enable_memory(self) -> None:
        """The command register as it was found, and memory decoding, without which nothing can be read."""
        found = self._transport.config_read(_COMMAND, 2)
        self._command_found = found
        if not found & _MEMORY:
            self._transport.config_write(_COMMAND, 2, found | _MEMORY)

    def _bad_discovery(self, found: Located, findings: Sequence[Finding]) -> GpumendError:
        """Why there is no table to go by: the device is gone, or sick."""
        if is_lost(self._transport):
            return _lost(self._transport.name)
        dead = [finding for finding in why_all_ones(self._transport) if finding.severity.rank >= Severity.ERROR.rank]
        worst = max((*findings, *found.findings, *dead), key=lambda finding: finding.severity.rank, default=None)
        all_dead = any(finding.code == "amd.discovery.unreadable" for finding in found.findings)
        action = Action.RESTORE_CONFIG if all_dead else Action.MODE1
        advice = "restore-config: gpumend reset --method restore-config"
        if action is Action.MODE1:
            advice = "mode1, in a hive of all members: gpumend reset --method hive-reset"
        return Sick(
            worst.code if worst else "amd.discovery.signature",
            f"starting {self._transport.name}",
            action,
            expected=(worst.expected if worst else "") or "a discovery table that can be trusted",
            seen=f"{worst.summary}: {worst.seen}" if worst else "none",
            where=(worst.where if worst else "") or self._transport.name,
            next_step=advice,
        )

    def _make_blocks(self, access: Access, part: Part, ip: IpMap) -> None:
        self.gpu = Gpu(access, self.clock, ip, part)
        self.nbio = Nbio(self.gpu)
        self.gmc = Gmc(self.gpu, slot=self._slot)
        self.ih = Ih(self.gpu, self.gmc)
        self.smu = Smu(self.gpu, self.gmc)
        self._made = True

    # ---- step firmware

    def _load_firmware(self) -> None:
        from amdriver.gfx import Gfx
        from amdriver.sdma import Sdma

        self.firmware = firmware_set.load(self.gpu.part, self.gpu.ip, self._firmware_dirs)
        self.firmware.require(self._features)
        self.psp = Psp(self.gpu, self.gmc, self.firmware)
        self.gfx = Gfx(self.gpu, self.gmc)
        self.sdma = Sdma(self.gpu, self.gmc)

    # ---- step start-state

    @property
    def _scratch(self) -> Gc:
        """The first XCC, in whose scratch registers the marks are."""
        return self.gpu.block(Gc, "GC", self.gpu.ip.active("GC")[0].instance)

    def _judge(self) -> None:
        """Find out in which state the GPU is; Sick when it is in none that can be started."""
        scratch = self._scratch
        ours = scratch.SCRATCH_REG7.read().value == MAGIC
        in_use = scratch.SCRATCH_REG6.read().value != 0
        self._sos_alive = self.psp.is_sos_alive() or (ours and in_use and self._sos_comes_up())
        self._check_ras()
        if not self._sos_alive:
            self._check_bootloader()
        self._check_smu()
        self.gmc.sw_init()
        if not self._sos_alive:
            self.start_state = StartState.DIRTY if ours and in_use else StartState.COLD
        elif ours and not in_use and self.ih.is_off_with(MAGIC) and not self.gmc.faults():
            self.start_state = StartState.CLEAN
        else:
            self.start_state = StartState.DIRTY

    def _sos_comes_up(self) -> bool:
        """A start of ours was interrupted: was it just then that the secure OS was started?"""
        deadline = self.clock.now() + HANDSHAKE_S + SOS_TIMEOUT_S
        while self.clock.now() < deadline:
            self.clock.sleep(HANDSHAKE_S)
            if self.psp.is_sos_alive():
                return True
        return False

    def _check_ras(self) -> None:
        if self.nbio.ras().fatal:
            self._sick(
                "amd.ras.fatal",
                self._whole_reset(),
                "no fatal error",
                "RAS_ATHUB_ERR_EVENT_INTERRUPT_STATUS=1",
                self.nbio.regs.BIF_BX0_BIF_DOORBELL_INT_CNTL.where,
            )

    def _check_bootloader(self) -> None:
        """The secure OS does not run: then the bootloader must be waiting for it."""
        mp0 = self.gpu.block(Mp0, "MP0")
        self._ready(mp0, f"C2PMSG_33 bit 31 within {IFWI_TIMEOUT_S:g} s", 33, IFWI_TIMEOUT_S)
        self._ready(mp0, f"C2PMSG_35={READY:#010x} within {BOOTLOADER_LOOK_S:g} s", 35, BOOTLOADER_LOOK_S)

    def _ready(self, mp0: Mp0, expected: str, number: int, timeout_s: float) -> None:
        register = mp0.MP0_SMN_C2PMSG_33 if number == 33 else mp0.MP0_SMN_C2PMSG_35
        exact = number == 35

        def ready(value: int) -> bool:
            return value == READY if exact else bool(value & READY) and value != ALL_ONES

        try:
            self.gpu.wait(
                lambda: register.read().value,
                ready,
                doing="looking for the bootloader",
                expected=expected,
                timeout_s=timeout_s,
                where=register.where,
                show=lambda value: f"C2PMSG_{number}={value:#010x}",
            )
        except WaitTimeout as late:
            self._sick("amd.psp.bootloader", Action.BUS_RESET, expected, late.seen, register.where, late)

    def _check_smu(self) -> None:
        """The power firmware runs, and no message hangs in its mailbox."""
        try:
            self.smu.require_alive()
        except SmuSilent as silent:
            self._sick("amd.smu.silent", Action.BUS_RESET, silent.expected, silent.seen, silent.where, silent)
        mp1 = self.gpu.block(Mp1, "MP1")
        response = mp1.MP1_SMN_C2PMSG_90
        if response.read().value or not mp1.MP1_SMN_C2PMSG_66.read().value:
            return
        try:
            self.gpu.wait(
                lambda: response.read().value,
                lambda code: code != 0,
                doing="waiting for the SMU",
                expected="C2PMSG_90 not 0",
                timeout_s=MESSAGE_TIMEOUT_S,
                where=response.where,
            )
        except WaitTimeout as late:
            self._sick("amd.smu.silent", Action.BUS_RESET, "an answer in C2PMSG_90", late.seen, response.where, late)

    def _sick(
        self, code: str, action: Action, expected: str, seen: str, where: str, cause: BaseException | None = None
    ) -> None:
        raise Sick(
            code,
            f"starting {self.gpu.name}",
            action,
            expected=expected,
            seen=seen,
            where=where,
            next_step=f"gpumend reset --method {action}; gpumend probe tells more",
        ) from cause

    def _whole_reset(self) -> Action:
        """mode1, of all members when the GPU belongs to a hive; where registers cannot be reached, what gives them back."""
        in_hive = False
        with suppress(GpumendError):  # asked while another error is being told
            control = self._scratch.MC_VM_XGMI_LFB_CNTL.read()
            if control.value == ALL_ONES:
                return Action.BUS_RESET if is_lost(self._transport) else Action.RESTORE_CONFIG
            in_hive = control.PF_MAX_REGION > 0
        return Action.HIVE_RESET if in_hive else Action.MODE1

    # ---- the steps that write

    def _allocate(self, dirty: bool) -> None:
        """Mark the GPU as in use, so that an interrupted start is seen as such; then memory of all blocks. The page tables
        come later, and are written once.

        Dirty: what still runs must not write into memory of this machine that is ours now, so the bus master goes first."""
        self._mark_in_use()
        if dirty:
            self._set_command(clear=_BUS_MASTER)
        for block in (self.ih, self.psp, self.smu, self.gfx, self.sdma):
            self._blocks.append(block)
            block.sw_init()

    def _stop(self) -> None:
        """Whatever may still run, before the memory that it uses gets new contents."""
        self.ih.halt()
        self.sdma.stop_left_rings()
        self.sdma.halt()
        if self._sos_alive:
            self.gfx.stop_left_queues()
        self.gfx.halt()
        if self._sos_alive and self.psp.regs.MP0_SMN_C2PMSG_71.read().value:
            self.psp.destroy_ring()

    def _enable_pci(self) -> None:
        self._set_command(set_=_MEMORY | _BUS_MASTER | _INTX_OFF)

    def _set_command(self, set_: int = 0, clear: int = 0) -> None:
        before = self._transport.config_read(_COMMAND, 2)
        wanted = before & ~clear | set_
        if wanted != before:
            self._transport.config_write(_COMMAND, 2, wanted)

    def _start_interrupts(self) -> None:
        self.nbio.setup_interrupts()
        self._connect_interrupts()
        self.ih.hw_init()

    def _connect_interrupts(self) -> None:
        """Where they reach us, waits sleep until one comes. Before the IH may send any."""
        if Can.INTERRUPTS not in self._transport.can:
            return
        source = cast("InterruptSource", self._transport)
        try:
            source.enable_interrupts()
        except DeviceLost:
            raise
        except Unavailable as error:
            self.notes.append(f"waiting polls, since there are no interrupts: {error.seen}")
            return
        self._interrupts = source
        self.gpu.wait_interrupt = self._wait_interrupt

    def _wait_interrupt(self, timeout_s: float) -> None:
        if self._interrupts is not None and self._interrupts.wait_interrupt(timeout_s):
            self.ih.collect()

    def _disconnect_interrupts(self) -> None:
        source, self._interrupts = self._interrupts, None
        if source is not None:
            self.gpu.wait_interrupt = None
            source.disable_interrupts()

    def _start_bootloader(self) -> None:
        """From the first component on; or from where a start of ours with the same firmware was interrupted."""
        scratch = self._scratch
        done = 0
        if self.start_state is StartState.DIRTY and scratch.SCRATCH_REG5.read().value == self.firmware.crc:
            done = scratch.SCRATCH_REG4.read().value
        else:
            scratch.SCRATCH_REG5.write(self.firmware.crc)
            scratch.SCRATCH_REG4.write(0)
        self.psp.start_bootloader(done, scratch.SCRATCH_REG4.write)

    def _psp_firmware(self) -> None:
        """Load it all; or keep what a clean close of ours left, if it is the same and still runs."""
        running = self.psp.read_sos_version()
        if self._sos_alive and running != self.firmware.sos_version:
            told = f"the secure OS {running:#010x} runs, the file has {self.firmware.sos_version:#010x}"
            resets = self.gpu.ip.version_of("MP0") in _RELOADS
            self.notes.append(f"{told}: amdgpu would reset the GPU to load it" if resets else told)
        scratch = self._scratch
        if self.start_state is StartState.CLEAN and scratch.SCRATCH_REG5.read().value == self.firmware.crc:
            self.reused_firmware = bool(scratch.RLC_CNTL.read().RLC_ENABLE_F32)
        if not self.reused_firmware:
            self.psp.load_firmware()

    def _psp_applications(self) -> None:
        self.psp.memory_partitions = self.nbio.memory_partitions() or 1
        self.psp.load_applications()
        if self.psp.xgmi is not None:
            self.xgmi = Xgmi(self.psp.xgmi, self.gpu.name)
            self.xgmi.initialize()

    def _start_gfx(self) -> None:
        """All XCCs work as one, before their queues are set up."""
        if not self.reused_firmware or self.nbio.compute_partition():
            self.psp.set_partitions(1)
        if self._after_mode2:
            self.gfx.resume_rlc()
            self.smu.reset_complete()
        self.gfx.hw_init()

    def _mark_in_use(self) -> None:
        self._scratch.SCRATCH_REG6.write(1)
        self._scratch.SCRATCH_REG7.write(MAGIC)

    def _mark_ready(self) -> None:
        self._scratch.SCRATCH_REG5.write(self.firmware.crc)

    # ---- recovery (amd-resets.md section 3)

    def mode2(self, on_step: Callable[[str], None] | None = None) -> None:
        """Reset all engines of this GPU and start them again: VRAM, page tables, PSP, SMU and XGMI stay; every queue is
        there afterwards, empty. Other GPUs are not touched.

        `on_step` gets the steps of MODE2_STEPS. Raises what the blocks raise; then the GPU needs a reset as a whole."""
        step = on_step or (lambda name: None)
        step("engines off")
        self.gfx.halt()
        self.sdma.halt()  # the rings; the firmware must stay, it answers the SMU's request to freeze
        # Whoever hands interrupts to us has to set them up again: the vector in config space is lost, and not ours to write.
        self._disconnect_interrupts()
        saved = SavedConfig.take(self._transport)
        bus_master_off(self._transport)
        step("mode2")
        self.smu.begin_mode2()
        self.clock.sleep(MODE2_QUIET_S)
        step("config")
        saved.restore(self._transport)
        self.smu.await_mode2()
        self._enable_pci()
        self._connect_interrupts()
        step("firmware")
        self.nbio.hw_init()
        self.ih.hw_init()
        self.gmc.resume_gfx()
        self.psp.load_firmware()
        step("engines on")
        self.gfx.resume_rlc()
        self.smu.reset_complete()
        if self.nbio.compute_partition():
            self.psp.set_partitions(1)
        self.gfx.resume()
        self.sdma.hw_init()
        self._mark_in_use()
        self._mark_ready()

    # ---- closing

    def close(self) -> None:
        """Stop everything, so that any driver can start the GPU; twice is as good as once.

        Raises the first error on the way, after the rest was done all the same; the GPU then counts as dirty."""
        if self._owned is None:
            return
        failed: list[GpumendError] = []
        try:
            self._stop_all(failed)
            if failed:
                self._explain(failed[0], "close")
            else:
                _try(self._mark_clean, failed)
            _try(self._restore_command if not failed else self._silence, failed)
        except BaseException:  # an interrupt: what still runs must not reach memory that is given back now
            _try(self._silence, failed)
            raise
        finally:
            self._let_go(failed)
        if failed:
            failed[0].__dict__.setdefault("step", "close")
            raise failed[0]

    def _stop_all(self, failed: list[GpumendError]) -> None:
        """Every block as the kernel leaves it; once the device is lost, the rest is left out."""
        stages: tuple[Callable[[], object], ...] = (
            self.sdma.hw_fini,
            self.gfx.hw_fini,
            self.smu.hw_fini,
            self.psp.hw_fini,
            self.ih.hw_fini,
            self.gmc.hw_fini,
            self.nbio.hw_fini,
        )
        for stage in stages:
            if not any(isinstance(error, DeviceLost) for error in failed):
                _try(stage, failed)

    def _let_go(self, failed: list[GpumendError]) -> None:
        """Memory, then the lock, whatever happens on the way."""
        try:
            _try(self._disconnect_interrupts, failed)
            _try(self._free, failed)
        finally:
            self._give_up()

    def _mark_clean(self) -> None:
        self.ih.leave_mark(MAGIC)
        self._scratch.SCRATCH_REG6.write(0)

    def _restore_command(self) -> None:
        if self._command_found is not None:
            self._transport.config_write(_COMMAND, 2, self._command_found)

    def _silence(self) -> None:
        """As it was found, but for the bus master: what still runs must not reach memory that is free again."""
        if self._command_found is not None:
            self._transport.config_write(_COMMAND, 2, self._command_found & ~_BUS_MASTER)

    def _abort(self) -> None:
        """After a failed start: no more DMA, everything freed, the lock given up. Errors on the way are not the news."""
        failed: list[GpumendError] = []
        try:
            if self._writing:
                _try(self._silence, failed)
                _try(self.gmc.hw_fini, failed)
            else:
                _try(self._restore_command, failed)
        finally:
            self._let_go(failed)

    def _free(self) -> None:
        """Memory of the blocks, then of the users. Touches no register."""
        if self._made:
            self.gmc.abandon()  # where stopping it failed, freeing must not try to unmap
        for block in reversed(self._blocks):
            block.sw_fini()
        self._blocks.clear()
        if self._made:
            self.left = self.gmc.sw_fini()

    def _give_up(self) -> None:
        owned, self._owned = self._owned, None
        if owned is not None and owned is not self._transport:
            owned.release()


def require_drivable(name: str, info: FunctionInfo) -> Part:
    """The part; Refused when it is none that this driver may start."""
    doing = f"opening {name}"
    part = part_of(info.vendor, info.device)
    if part is None:
        raise Refused(
            doing,
            expected="an AMD Instinct GPU that is known",
            seen=f"PCI id {info.vendor:04x}:{info.device:04x}",
            where=info.bdf,
            next_step="gpumend list shows what is supported",
        )
    if part.is_vf or part.is_apu or info.sriov_vf:
        kind = "an APU" if part.is_apu else "a virtual function"
        raise Refused(
            doing,
            expected="a discrete GPU, not virtualised",
            seen=f"{part.name}, {kind}",
            where=info.bdf,
            next_step="its own driver (amdgpu) starts it",
        )
    if info.driver and info.driver not in _KEEPERS:
        raise Refused(
            doing,
            expected="no kernel driver bound",
            seen=f"bound to {info.driver}",
            where=info.bdf,
            next_step=f"echo {info.bdf} > /sys/bus/pci/drivers/{info.driver}/unbind",
        )
    return part


def _lost(name: str) -> DeviceLost:
    return DeviceLost(
        f"opening {name}",
        expected="a device on the bus",
        seen="config space reads 0xffffffff",
        where=name,
        next_step="gpumend probe; a bus-reset or a power cycle of the node brings it back",
    )


def _try(work: Callable[[], object], failed: list[GpumendError]) -> None:
    try:
        work()
    except GpumendError as error:
        failed.append(error)
