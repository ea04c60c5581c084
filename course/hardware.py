"""Numbers of other people's machines, each with its source: the document's, an A100's, an H100's.

A number in brackets is a key of SOURCES. What no source gave is left empty.
"""

from dataclasses import dataclass

SOURCES = {
    1: "NVIDIA, Ampere tuning guide, 1.4.1.1 and 1.4.2: docs.nvidia.com/cuda/ampere-tuning-guide",
    2: "NVIDIA 2020, A100 Tensor Core GPU architecture, whitepaper (dense FP16)",
    3: "NVIDIA, Hopper tuning guide, 1.4.1.1 and 1.4.2: docs.nvidia.com/cuda/hopper-tuning-guide",
    4: "NVIDIA, H100 data sheet, SXM (dense FP16: half of what it prints, which is with sparsity)",
    5: "Dao et al. 2022, FlashAttention, figure 1: arXiv 2205.14135 (all SMs together)",
    6: "Abdelkhalik et al. 2022, microbenchmarks of an A100: arXiv 2208.11174",
    7: "Luo et al. 2024, microbenchmarks, table IV: arXiv 2402.13499 (A100; H800, a Hopper chip)",
    8: "M. Dewing, latency benchmarks: github.com/markdewing/AI_kernels (GH200, a Hopper chip)",
    9: "Measurements of an Intel Xeon X5650 of 2010: 7-cpu.com/cpu/Westmere.html",
}


@dataclass(frozen=True)
class Row:
    """One level of a memory hierarchy, in words."""

    size: str
    latency: str = ""
    bandwidth: str = ""


DOCUMENT = {
    "registers": Row("~1KB", "1 cycle"),
    "L1": Row("~32KB", "1-3 cycles"),
    "L2": Row("~256KB", "10-20 cycles"),
    "memory": Row("HBM, ~80GB", "200-800 cycles"),
}
"""The document's table "Memory Hierarchies", as it stands there."""

WHOSE = {
    "registers": "one thread's of a GPU: at most 255 registers of 4 bytes [1, 3]",
    "L1": "one core's of a CPU of 2010: 32 KB, 4 cycles [9]",
    "L2": "one core's of the same CPU: 256 KB, 10 cycles [9]",
    "memory": "a GPU's: 80 GB [3], 290 to 690 cycles [6, 7, 8]",
}
"""Which machine has what the document says."""

GPUS = {
    "A100, 40 GB": {
        "registers": Row("256 KB an SM [1]"),
        "L1": Row(
            "192 KB an SM, up to 164 KB of it shared memory [1]",
            "33 [6] to 38 [7] cycles",
            "19 TB/s [5]",
        ),
        "L2": Row("40 MB [1]", "200 [6] to 262 [7] cycles"),
        "memory": Row("HBM2, 40 GB [1]", "290 [6] to 466 [7] cycles", "1.555 TB/s [2]"),
    },
    "H100 SXM, 80 GB": {
        "registers": Row("256 KB an SM [3]"),
        "L1": Row("256 KB an SM, up to 228 KB of it shared memory [3]", "40 [8] cycles"),
        "L2": Row("50 MB [3]", "281 [8] cycles"),
        "memory": Row("HBM3, 80 GB [3]", "479 [7] to 690 [8] cycles", "3.35 TB/s [4]"),
    },
}


@dataclass(frozen=True)
class Roof:
    """What a roofline needs of a machine.

    peak_flops in FLOP/s; bandwidth of its memory in bytes a second; faster: bandwidths of levels
    above the memory, by name; source: where the numbers are from.
    """

    peak_flops: float
    bandwidth: float
    bytes_per_element: int
    faster: dict[str, float]
    source: str


GPU_ROOFS = {
    "A100, 40 GB": Roof(
        312e12,
        1.555e12,
        2,
        {"SRAM": 19e12},
        "FP16 on tensor cores, NVIDIA 2020; SRAM, Dao et al. 2022",
    ),
    "H100 SXM, 80 GB": Roof(989e12, 3.35e12, 2, {}, "FP16 on tensor cores, NVIDIA's data sheet"),
}
