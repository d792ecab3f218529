"""The files of MI300X and MI350X (and NVIDIA's, below) that were decoded and compared by hand: their SHA-256 (first
16 hex digits), size and version, as Debian's firmware-amd-graphics 20260916 ships them. A file that is not here is
newer or unknown, not wrong.

The digest is the only check that covers the first 32 bytes and the files whose checksum rule nobody knows."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType


@dataclass(frozen=True, slots=True)
class Pin:
    """`version` is the header's ucode_version, 0 in TA and SMU files; `crc32` the number stored in the header."""

    sha256_16: str
    size_bytes: int
    version: int
    crc32: int


PINS: Mapping[str, Pin] = MappingProxyType(
    {
        "psp_13_0_6_sos.bin": Pin("36cce3a9441a0dcd", 787040, 0x00360260, 0x5E06309E),
        "psp_13_0_6_ta.bin": Pin("712567e725c1704a", 88960, 0, 0xB4D9720F),
        "psp_13_0_12_sos.bin": Pin("7113a165c75c232d", 455472, 0x0045002F, 0xA809A5F1),
        "psp_13_0_12_ta.bin": Pin("ba427a5e02cb6bc3", 70976, 0, 0x0BD35212),
        "psp_13_0_14_sos.bin": Pin("db863768cb25e806", 405824, 0x00360822, 0x0DF22190),
        "psp_13_0_14_ta.bin": Pin("41491b6750574aed", 67904, 0, 0x93907A74),
        "smu_13_0_6.bin": Pin("ad7232264e8c57c2", 3748, 0, 0x28E4FBE2),
        "smu_13_0_14.bin": Pin("a4f36de75fdcecd8", 1420, 0, 0x25D4C9E9),
        "gc_9_4_3_mec.bin": Pin("99bc12230f00b930", 268736, 0xC2, 0x7DE5C80F),
        "gc_9_4_3_sjt_mec.bin": Pin("2945dbd098c41588", 268736, 0x80C2, 0x13108FC3),
        "gc_9_4_3_rlc.bin": Pin("54cbd0de3a0ec35d", 38708, 0x46, 0x157467AC),
        "gc_9_4_4_mec.bin": Pin("7f14258f8301d271", 268736, 0xC2, 0x29E85A35),
        "gc_9_4_4_sjt_mec.bin": Pin("0bbef279bbc07c50", 268736, 0x80C2, 0x9AF30CD9),
        "gc_9_4_4_rlc.bin": Pin("e0c3585c72f81366", 43388, 0x40, 0xE484CC74),
        "gc_9_5_0_mec.bin": Pin("0c39078c53e10e99", 268736, 0x2C, 0xE7C8F053),
        "gc_9_5_0_sjt_mec.bin": Pin("a769745367567fc6", 268736, 0x802C, 0xA5921FA6),
        "gc_9_5_0_rlc.bin": Pin("9b1268f5751153fe", 38700, 0x2B, 0x7F218AB4),
        "sdma_4_4_2.bin": Pin("ff885711d2d5d75c", 34304, 0x1B, 0x1152185E),
        "sdma_4_4_4.bin": Pin("06a9d4d02c187844", 34304, 0x0E, 0xB7555423),
        "sdma_4_4_5.bin": Pin("e2a30faa9403933f", 34304, 0x1B, 0x6706B204),
        "vcn_4_0_3.bin": Pin("0126595617afbaa6", 359696, 0x09118020, 0xCD3D8C8F),
        "vcn_5_0_1.bin": Pin("b9d53491d5d23a33", 217680, 0x0910C01A, 0x2BD16D04),
    }
)

# NVIDIA's files, the same name for many chips: firmware-nvidia-graphics 20260916 (535.113.01 and 570.144), made by
# `find lib/firmware/nvidia/{tu102,tu116,ga100,ga102,ad102,gh100,gb100,gb202}/gsp -type f | xargs sha256sum | cut -c1-16`.
NVIDIA_PINS: frozenset[str] = frozenset(
    {
        "7d4ef3258da016f5",  # ad102/booter_load-535.113.01.bin
        "8b293e19b637c5e2",  # ad102/booter_load-570.144.bin
        "d036dfee0545c36e",  # ad102/booter_unload-535.113.01.bin
        "975b85a14ded8e43",  # ad102/booter_unload-570.144.bin
        "044d3a21eff73eb1",  # ad102/bootloader-535.113.01.bin
        "65ab2e6b6e0fca95",  # ad102/bootloader-570.144.bin
        "c397358e5c4258da",  # ad102/scrubber-570.144.bin
        "1d11d861ef1f41ee",  # ga100/booter_load-535.113.01.bin
        "46bafe32b2d1f597",  # ga100/booter_load-570.144.bin
        "0518f894d45977d8",  # ga100/booter_unload-535.113.01.bin
        "33bea24690c3880a",  # ga100/booter_unload-570.144.bin
        "e7670009c98791b8",  # ga100/bootloader-535.113.01.bin
        "3ab46bf4c70d72e8",  # ga102/booter_load-535.113.01.bin
        "4497e3eff7e95c77",  # ga102/booter_load-570.144.bin
        "09240c83595856a0",  # ga102/booter_unload-535.113.01.bin
        "8e63db5b78d7d3e3",  # ga102/booter_unload-570.144.bin
        "076d2a0675131ad8",  # ga102/bootloader-535.113.01.bin
        "82428f532240727e",  # ga102/bootloader-570.144.bin
        "e30231ec0d317021",  # ga102/gsp-535.113.01.bin
        "a8c3ebeed280323a",  # ga102/gsp-570.144.bin
        "daebc2235c9756f2",  # gb100/bootloader-570.144.bin
        "bc7497c2d8116cce",  # gb100/fmc-570.144.bin
        "d40b48e431d1707d",  # gb202/bootloader-570.144.bin
        "cb59a35c1d4bd127",  # gb202/fmc-570.144.bin
        "2176e42f05729ac4",  # gh100/bootloader-570.144.bin
        "f3ce25f3897c860e",  # gh100/fmc-570.144.bin
        "e1c574cc0734aebe",  # tu102/booter_load-535.113.01.bin
        "7bb181f544a94229",  # tu102/booter_load-570.144.bin
        "68cddb9e6d61d7bf",  # tu102/booter_unload-535.113.01.bin
        "5c7f1aa37d045cc2",  # tu102/booter_unload-570.144.bin
        "12e987b636c2f00f",  # tu102/bootloader-535.113.01.bin
        "b37776a511b4a009",  # tu102/gen_bootloader-570.144.bin
        "be2c3bb39cee2c4b",  # tu102/gsp-535.113.01.bin
        "3052aee2872182a1",  # tu102/gsp-570.144.bin
        "aeca340bbc42f739",  # tu116/booter_load-535.113.01.bin
        "9bd01804b4b91d92",  # tu116/booter_load-570.144.bin
        "3653ff42f0d64d29",  # tu116/booter_unload-535.113.01.bin
        "bf4a2b778722dde5",  # tu116/booter_unload-570.144.bin
    }
)
