"""Register blocks bound to one GPU: from its discovery table, else from what is known of every GPU of this family.

Source of the fixed bases: the kernel reads MEMSIZE, C2PMSG_33, C2PMSG_92 and C2PMSG_126 at fixed indices before it has
a table (amdgpu_discovery.c, amdgpu_ras.c); together with the headers' offsets these fix segment 2 of NBIO and segment 0
of MP0, and MP1 shares MP0's. GC, SDMA and MMHUB have no such place: without a table they are not asked, but for the one
look at XGMI_LFB_CNTL that probe/xgmi.py checks against the memory size. Once that base has proved itself, XCC 0 is asked
there for its engine and its faults: all these registers are in the same segment. AID rule: amdgpu_xgmi.c, amdgpu_ras.c."""

from __future__ import annotations

from collections.abc import Iterator

from amdriver.ip_map import IpInstance
from probe.session import Session
from registers.amd.gc_9_4_3 import Gc
from registers.amd.mmhub_1_8_0 import Mmhub
from registers.amd.mp_13_0_6 import Mp0, Mp1
from registers.amd.nbio_7_9_0 import Nbio
from registers.amd.sdma_4_4_2 import Sdma
from registers.core import RegisterBus

MP_BASES = (0x16000,)
NBIO_BASES = (0x0, 0x14, 0xD20)
GC_GUESS = (
    0x2000,
    0xA000,
)  # GC instance 0 of the generation before (aldebaran_ip_offset.h); only used when it proves itself
SDMA_PER_AID = 4


def _bases(session: Session, name: str, otherwise: tuple[int, ...]) -> tuple[int, ...]:
    found = session.ip_map.get(name) if session.ip_map is not None else None
    return found.bases if found is not None and found.bases else otherwise


def bus_of(session: Session, aid: int) -> RegisterBus:
    """AID 0 is reached directly, the others through SMN."""
    return session.access if aid == 0 else session.access.smn_bus(aid)


def mp0(session: Session, aid: int = 0) -> Mp0:
    return Mp0(bus_of(session, aid), _bases(session, "MP0", MP_BASES), f"MP0[{aid}]")


def mp1(session: Session) -> Mp1:
    return Mp1(session.access, _bases(session, "MP1", MP_BASES), "MP1[0]")


def nbio(session: Session) -> Nbio:
    return Nbio(session.access, _bases(session, "NBIO", NBIO_BASES), "NBIO[0]")


def aids(session: Session) -> tuple[int, ...]:
    """The AIDs that are there. Without a table only AID 0: touching one that is not there can hang the GPU."""
    if session.ip_map is None:
        return (0,)
    mask = session.ip_map.aid_mask
    return tuple(aid for aid in range(mask.bit_length()) if mask >> aid & 1)


def gcs(session: Session) -> Iterator[tuple[int, Gc]]:
    """Every XCC by physical instance; without a table XCC 0, if its base has proved itself."""
    if session.ip_map is None and session.gc0 is not None:
        yield 0, session.gc0
    for ip in _active(session, "GC"):
        yield ip.instance, Gc(session.access, ip.bases, f"GC[{ip.instance}]")


def gcs_left(session: Session) -> Iterator[tuple[int, Gc]]:
    """Those XCCs that an earlier look has not asked."""
    return ((instance, gc) for instance, gc in gcs(session) if instance not in session.asked_xccs)


def mmhubs(session: Session) -> Iterator[tuple[int, Mmhub]]:
    """One a AID."""
    for ip in _active(session, "MMHUB"):
        yield ip.instance, Mmhub(session.access, ip.bases, f"MMHUB[{ip.instance}]")


def sdmas(session: Session) -> Iterator[tuple[int, Sdma]]:
    """Every SDMA engine by physical instance."""
    for ip in _active(session, "SDMA0"):
        yield ip.instance, Sdma(session.access, ip.bases, f"SDMA[{ip.instance}]")


def gc_guess(session: Session) -> Gc:
    return Gc(session.access, GC_GUESS, "GC[0]")


def _active(session: Session, name: str) -> tuple[IpInstance, ...]:
    return session.ip_map.active(name) if session.ip_map is not None else ()
