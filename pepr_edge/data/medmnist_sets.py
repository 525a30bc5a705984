"""The sets of MedMNIST that are known by name: checksums and names of labels.

Sources: Yang et al. 2023, MedMNIST v2, Scientific Data 10:41: Zenodo record 10519652 (28 px, and MedMNIST+
with 64, 128 and 224 px). Abhishek et al. 2025, Scientific Data 12:196: record 12739457, DermaMNIST without
images of one lesion in several splits (corrected), and with ISIC's own validation and test images (extended).
"""

from __future__ import annotations

from dataclasses import dataclass, replace

from pepr_edge.tasks import TaskKind

MEDMNIST_RECORD = "10519652"
CORRECTED_RECORD = "12739457"
# Of MedMNIST+, in the order of its checksums.
SIZES_PX = (64, 128, 224)


@dataclass(frozen=True)
class MedmnistSet:
    """A set of MedMNIST at one size.

    `record` is the number of its record on Zenodo.
    """

    md5: str
    task: str
    labels: tuple[str, ...]
    record: str = MEDMNIST_RECORD


# MedMNIST's names of tasks, and ours where the labels alone do not tell the kind.
KINDS: dict[str, TaskKind] = {"ordinal-regression": "ordinal", "multi-label": "multilabel"}
_ORGANS = (
    "bladder", "femur-left", "femur-right", "heart", "kidney-left", "kidney-right", "liver", "lung-left",
    "lung-right", "pancreas", "spleen",
)  # fmt: skip

_AT_28_PX: dict[str, MedmnistSet] = {
    "pathmnist": MedmnistSet(
        "a8b06965200029087d5bd730944a56c1",
        "multi-class",
        (
            "adipose", "background", "debris", "lymphocytes", "mucus", "smooth muscle", "normal colon mucosa",
            "cancer-associated stroma", "colorectal adenocarcinoma epithelium",
        ),
    ),
    "chestmnist": MedmnistSet(
        "02c8a6516a18b556561a56cbdd36c4a8",
        "multi-label",
        (
            "atelectasis", "cardiomegaly", "effusion", "infiltration", "mass", "nodule", "pneumonia",
            "pneumothorax", "consolidation", "edema", "emphysema", "fibrosis", "pleural", "hernia",
        ),
    ),
    "dermamnist": MedmnistSet(
        "0744692d530f8e62ec473284d019b0c7",
        "multi-class",
        (
            "actinic keratoses and intraepithelial carcinoma", "basal cell carcinoma",
            "benign keratosis-like lesions", "dermatofibroma", "melanoma", "melanocytic nevi",
            "vascular lesions",
        ),
    ),
    "octmnist": MedmnistSet(
        "c68d92d5b585d8d81f7112f81e2d0842",
        "multi-class",
        ("choroidal neovascularization", "diabetic macular edema", "drusen", "normal"),
    ),
    "pneumoniamnist": MedmnistSet(
        "28209eda62fecd6e6a2d98b1501bb15f", "binary-class", ("normal", "pneumonia")
    ),
    "retinamnist": MedmnistSet(
        "bd4c0672f1bba3e3a89f0e4e876791e4", "ordinal-regression", ("0", "1", "2", "3", "4")
    ),
    "breastmnist": MedmnistSet("750601b1f35ba3300ea97c75c52ff8f6", "binary-class", ("malignant", "benign")),
    "bloodmnist": MedmnistSet(
        "7053d0359d879ad8a5505303e11de1dc",
        "multi-class",
        (
            "basophil", "eosinophil", "erythroblast", "immature granulocytes", "lymphocyte", "monocyte",
            "neutrophil", "platelet",
        ),
    ),
    "tissuemnist": MedmnistSet(
        "ebe78ee8b05294063de985d821c1c34b",
        "multi-class",
        (
            "Collecting Duct, Connecting Tubule", "Distal Convoluted Tubule", "Glomerular endothelial cells",
            "Interstitial endothelial cells", "Leukocytes", "Podocytes", "Proximal Tubule Segments",
            "Thick Ascending Limb",
        ),
    ),
    "organamnist": MedmnistSet("68e3f8846a6bd62f0c9bf841c0d9eacc", "multi-class", _ORGANS),
    "organcmnist": MedmnistSet("b9ceb9546e10131b32923c5bbeaea2b1", "multi-class", _ORGANS),
    "organsmnist": MedmnistSet("9ab87b696fb54e2a387ebe992d6ed5f1", "multi-class", _ORGANS),
}  # fmt: skip

_PLUS: dict[str, tuple[str, str, str]] = {
    "pathmnist": (
        "55aa9c1e0525abe5a6b9d8343a507616",
        "ac42d08fb904d92c244187169d1fd1d9",
        "2c51a510bcdc9cf8ddb2af93af1eadec",
    ),
    "chestmnist": (
        "9de6cd0b934ebb5b7426cfba5efbae16",
        "db107e5590b27930b62dbaf558aebee3",
        "45bd33e6f06c3e8cdb481c74a89152aa",
    ),
    "dermamnist": (
        "b70a2f5635c6199aeaa28c31d7202e1f",
        "2defd784463fa5243564e855ed717de1",
        "8974907d8e169bef5f5b96bc506ae45d",
    ),
    "octmnist": (
        "e229e9440236b774d9f0dfef9d07bdaf",
        "0a97e76651ace45c5d943ee3f65b63ae",
        "abc493b6d529d5de7569faaef2773ba3",
    ),
    "pneumoniamnist": (
        "8f4eceb4ccffa70c672198ea285246c6",
        "05b46931834c231683c68f40c47b2971",
        "d6a3c71de1b945ea11211b03746c1fe1",
    ),
    "retinamnist": (
        "afda852cc34dcda56f86ad2b2457dbcc",
        "e48e916a24454daf90583d4e6efb1a18",
        "eae7e3b6f3fcbda4ae613ebdcbe35348",
    ),
    "breastmnist": (
        "742edef2a1fd1524b2efff4bd7ba9364",
        "363e4b3f8d712e9b5de15470a2aaadf1",
        "b56378a6eefa9fed602bb16d192d4c8b",
    ),
    "bloodmnist": (
        "2b94928a2ae4916078ca51e05b6b800b",
        "adace1e0ed228fccda1f39692059dd4c",
        "b718ff6835fcbdb22ba9eacccd7b2601",
    ),
    "tissuemnist": (
        "123ece2eba09d0aa5d698fda57103344",
        "61b955355d7425a89687b06cca3ce0c2",
        "b077128c4a949f0a4eb01517f9037b9c",
    ),
    "organamnist": (
        "2dcccc29b88e6da5a01161ef20cda288",
        "eeae80d0a227a8d099027e1b3cfd3b60",
        "50747347e05c87dd3aaf92c49f9f3170",
    ),
    "organcmnist": (
        "3ce34a8724ea6f548e6db4744d03b6a9",
        "773c1f009daa3fe5d9a2a201b2a7ed94",
        "050f5e875dc056f6768abf94ec9995d1",
    ),
    "organsmnist": (
        "53a6d115339d874c25e309a994ff46d3",
        "ded0c5fa01a95dc4978b956f613e9b8e",
        "b354719e553fbbb2513d5533f52a4cb1",
    ),
}

_CORRECTED: dict[str, str] = {
    "dermamnist_corrected_28": "96e2862980877d45d9cacb5c25de6950",
    "dermamnist_corrected_224": "84920fb70c83b234c295b6f0d4ae2bc0",
    "dermamnist_extended_28": "ecacbf37d9cc79340226bd19bd4c7463",
    "dermamnist_extended_224": "b59d6a78a036a0bb48a1eff13d94333c",
}


def _all_sets() -> dict[str, MedmnistSet]:
    """Return all sets by the names of their files."""
    sets = dict(_AT_28_PX)
    for name, checksums in _PLUS.items():
        for px, md5 in zip(SIZES_PX, checksums, strict=True):
            sets[f"{name}_{px}"] = replace(_AT_28_PX[name], md5=md5)
    for name, md5 in _CORRECTED.items():
        sets[name] = replace(_AT_28_PX["dermamnist"], md5=md5, record=CORRECTED_RECORD)
    return sets


INFO: dict[str, MedmnistSet] = _all_sets()
# The numbers of grades of the ordinal sets.
ORDINAL_CLASSES = frozenset(
    len(known.labels) for known in INFO.values() if KINDS.get(known.task) == "ordinal"
)


def url(name: str) -> str:
    """Return the address of a set of INFO."""
    return f"https://zenodo.org/records/{INFO[name].record}/files/{name}.npz?download=1"
