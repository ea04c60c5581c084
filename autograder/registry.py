"""The notebooks of the course: the one place where they are listed.

The build, the start page, the benchmarks and the README's tables are made from it.
"""

from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).parent.parent
COURSE = ROOT / "course"


@dataclass(frozen=True)
class Notebook:
    """One notebook of the course, whether it is written yet or not.

    topic: names its modules and folders everywhere. title: without its number.
    teaches: in one sentence. you_write: what its exercises are; empty while it is still to come.
    implements: the topic of the course document that it implements, if it does.
    remark: what else the README says of its state.
    """

    topic: str
    number: int
    title: str
    teaches: str
    you_write: str = ""
    implements: str = ""
    remark: str = ""

    @property
    def name(self) -> str:
        """Of its folders and files."""
        return f"{self.number:02}_{self.topic}"

    @property
    def heading(self) -> str:
        """The title with its number, as the notebook begins."""
        return f"{self.number}. {self.title}"

    @property
    def state(self) -> str:
        """Whether it is written, in words."""
        return "; ".join(filter(None, ("complete" if self.you_write else "to come", self.remark)))


PLAN = (
    Notebook(
        topic="foundations",
        number=0,
        title="Foundations",
        teaches="Softmax attention, what it costs, how to measure growth, and low-rank "
        "approximation.",
        you_write="softmax and multi-head attention, their cost, measured exponents, low-rank "
        "approximation",
    ),
    Notebook(
        topic="sparse_attention",
        number=1,
        title="Sparse attention",
        teaches="Look at few keys: windows, strides, blocks, and hashing that finds the likely "
        "ones.",
        you_write="windows, strides, Big Bird's blocks, Reformer's hashing, and how far each "
        "pattern reaches",
        implements="2 Sparse attention patterns",
    ),
    Notebook(
        topic="linear_attention",
        number=2,
        title="Linear attention",
        teaches="Regroup a product, and attention costs O(n): feature maps, the Performer, FNet.",
        you_write="feature maps, causal linear attention as an RNN, the Performer's random "
        "features, FNet",
        implements="1 Linear attention mechanisms",
    ),
    Notebook(
        topic="low_rank_attention",
        number=3,
        title="Low-rank attention",
        teaches="Attention maps of low rank, and what they allow: Linformer and Nyström attention.",
        you_write="spectra, Linformer, Johnson–Lindenstrauss projections, Nyström attention",
    ),
    Notebook(
        topic="memory_efficient_training",
        number=4,
        title="Memory-efficient training",
        teaches="Checkpointing, mixed precision, and optimizer states split over processes.",
        implements="3 Memory-efficient training techniques",
    ),
    Notebook(
        topic="hardware_aware_attention",
        number=5,
        title="Hardware-aware attention",
        teaches="Exact attention that moves less memory: online softmax, tiles, FlashAttention in "
        "Triton.",
        you_write="the roofline, online softmax, tiled attention and its backward pass, and "
        "FlashAttention as Triton kernels",
        implements="4 Hardware-aware optimizations",
        remark="the kernels' speed on a GPU is not measured yet",
    ),
    Notebook(
        topic="compact_models",
        number=6,
        title="Compact models",
        teaches="Smaller models that keep the quality: sharing, distillation, quantization, "
        "pruning.",
        implements="5 Model compression methods",
    ),
    Notebook(
        topic="tradeoffs_and_deployment",
        number=7,
        title="Trade-offs and deployment",
        teaches="Every method on the same tasks, and how to choose one for a budget.",
    ),
)

NOTEBOOKS = {notebook.topic: notebook.name for notebook in PLAN if notebook.you_write}
"""Topic -> notebook of those that are written, in the order of the course."""

BENCHMARKS = tuple(
    notebook.topic for notebook in PLAN if (ROOT / "benchmarks" / f"{notebook.topic}.py").exists()
)
"""The topics whose solutions are timed beside the libraries."""


def readme_with_tables(readme: str) -> str:
    """The README's text with its tables of notebooks and topics as they are here.

    Raises ValueError if it lacks the comments between which they stand.
    """
    for name, table in (("notebooks", _notebooks_table()), ("topics", _topics_table())):
        begin, end = f"<!-- {name}: written by the build -->\n", f"<!-- end of {name} -->"
        if not 0 <= readme.find(begin) < readme.find(end):
            raise ValueError(f"the README lacks {begin.strip()!r} and, after it, {end!r}")
        before, _, rest = readme.partition(begin)
        readme = before + begin + table + "\n" + end + rest.partition(end)[2]
    return readme


def _notebooks_table() -> str:
    written = [(f"`{n.name}`", n.you_write) for n in PLAN if n.you_write]
    return _table(("notebook", "you write"), *written)


def _topics_table() -> str:
    implementing = sorted((n for n in PLAN if n.implements), key=lambda n: n.implements)
    rows = [(n.implements, f"`{n.name}`", n.state) for n in implementing]
    return _table(("topic", "notebook", "state"), *rows)


def _table(head: tuple[str, ...], *rows: tuple[str, ...]) -> str:
    lines = ["| " + " | ".join(row) + " |" for row in (head, *rows)]
    return "\n".join([lines[0], "|---" * len(head) + "|", *lines[1:]])
