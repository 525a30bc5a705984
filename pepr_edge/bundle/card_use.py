"""The section of the model card that says how to use the model."""

from __future__ import annotations

from pepr_edge.bundle.markdown import plain
from pepr_edge.export.options import settings_text
from pepr_edge.records import Manifest, Preprocess
from pepr_edge.text.sentences import plural_of
from pepr_edge.text.units import capitalised, count, plural

NORMALISATION = "(x / {scale} - mean) / std, mean {mean}, std {std}, per channel"


def _preprocess_words(spec: Preprocess) -> str:
    """Return the steps from an image to the model's input, so that anyone can repeat them."""
    channels = "grey (L)" if spec.channels == 1 else "RGB"
    size = f"{spec.image_size_px} x {spec.image_size_px} px"
    mean = ", ".join(str(number) for number in spec.mean)
    std = ", ".join(str(number) for number in spec.std)
    depth = f"grey of more than 8 bits scaled to 8 from {spec.grey_bits}; " if spec.grey_bits else ""
    return (
        f"decode, EXIF orientation applied; {depth}{channels}; "
        f"resize to {size} ({spec.interpolation}, Pillow) unless it has that size; float32; "
        f"{NORMALISATION.format(scale=spec.scale, mean=mean, std=std)}; NCHW"
    )


def _with_transformers(manifest: Manifest) -> str:
    """Return what transformers' preprocessing does, and what it does otherwise than `predict`."""
    if manifest.preprocess.channels == 1:
        images = "grey images (mode L, with torchvision installed)"
    else:
        images = "RGB images"
    return (
        f'`AutoImageProcessor.from_pretrained(".")` of transformers prepares {images} of 8 bits as `predict` '
        "does, to within one of 255 levels. It applies no EXIF orientation, and images of more than 8 bits "
        "and DICOM come out wrong: use `pepr-edge predict`."
    )


def how_to_use(manifest: Manifest) -> str:
    """Return the section in Markdown."""
    labels = ", ".join(f"{number} {plain(label)}" for number, label in enumerate(manifest.labels))
    return f"""## How to use it

    pepr-edge verify BUNDLE
    pepr-edge predict BUNDLE IMAGE

{_as_measured(manifest)}{_selftest_images(manifest)}

With optimum, from inside this folder: `ORTModelForImageClassification.from_pretrained(".")`. \
{_with_transformers(manifest)}

By hand: {_preprocess_words(manifest.preprocess)}.
Input `{manifest.input.name}` ({manifest.input.dtype}, {_shape(manifest.input.shape)}), \
output `{manifest.output.name}` ({manifest.output.dtype}, {_shape(manifest.output.shape)}).
{capitalised(plural_of(manifest.kind))}: {labels}."""


def _shape(shape: tuple[int, ...]) -> str:
    return "x".join("n" if size == -1 else str(size) for size in shape)


def _selftest_images(manifest: Manifest) -> str:
    """Return the number of generated and of real images in the bundle, for people who pass it on."""
    real = manifest.selftest.real_images
    text = f"`verify` runs the model on {count(manifest.selftest.n - real)} generated images"
    if real == 0:
        return f"{text}. This bundle holds no image of the data."
    return (
        f"{text} and {plural(real, 'image')} of the data. "
        "**`selftest.npz` holds real images: pass them on only to people who may have them.**"
    )


def _as_measured(manifest: Manifest) -> str:
    """Return the settings of the measurement, and how to use the fallback on other devices."""
    text = (
        f"It was measured with these settings: {settings_text(manifest.profile.settings)}. "
        "The commands use the same settings if the device allows it, and print a note if not.\n"
    )
    if manifest.fallback is not None:
        text += (
            f"`{manifest.fallback.file}` is the same model in float32. "
            "Use it if `verify` says that `model.onnx` does not pass:\n"
            "`pepr-edge predict --fallback BUNDLE IMAGE`.\n"
        )
    return f"{text}\n"
