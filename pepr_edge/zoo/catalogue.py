"""The 131 architectures of the PePR paper, by their timm names.

`num_params` is at 1000 classes and 3 channels. `native_size_px` is the image size of timm's weights.
`fixed_size` is true if the layers are built for one image size. Most architectures accept any size from 32
px; _SIZES lists the others, with the reason. Any other timm model can be used too, but is untested.
"""

from __future__ import annotations

import difflib
import math
from collections.abc import Iterable
from dataclasses import dataclass
from functools import cache

MIN_PX = 32  # smaller sizes were not tested
CHECK_PX = 64  # small, so that a check is fast


@dataclass(frozen=True)
class Architecture:
    """One row of the table."""

    name: str
    family: str
    efficient: bool
    num_params: int
    native_size_px: int
    fixed_size: bool
    min_px: int
    multiple_of_px: int
    quirk: str

    def accepts(self, image_size_px: int) -> bool:
        """Return True if it can be built for, and trained on, square images of this size."""
        return image_size_px >= self.min_px and image_size_px % self.multiple_of_px == 0

    @property
    def sizes(self) -> str:
        """The accepted sizes as text."""
        if self.multiple_of_px > 1:
            return f"multiples of {self.multiple_of_px} px"
        return f"from {self.min_px} px"

    def smallest_px(self, at_least_px: int) -> int:
        """Return the smallest accepted size that is at least this one."""
        wanted_px = max(self.min_px, at_least_px)
        return math.ceil(wanted_px / self.multiple_of_px) * self.multiple_of_px

    @property
    def check_px(self) -> int:
        """The size at which it is checked: the smallest accepted size that is at least CHECK_PX."""
        return self.smallest_px(CHECK_PX)


@cache
def architectures() -> dict[str, Architecture]:
    """Return all architectures by name, fewest parameters first."""
    sizes = {}
    for names, min_px, multiple_of_px, quirk in _SIZES:
        for name in names.split():
            sizes[name] = (min_px, multiple_of_px, quirk)
    rows = {}
    for line in _TABLE.strip().splitlines():
        name, family, efficient, num_params, native_size_px, fixed_size = line.split()
        min_px, multiple_of_px, quirk = sizes.get(name, _ANY_SIZE)
        rows[name] = Architecture(
            name=name,
            family=family,
            efficient=efficient == "yes",
            num_params=int(num_params),
            native_size_px=int(native_size_px),
            fixed_size=fixed_size == "yes",
            min_px=min_px,
            multiple_of_px=multiple_of_px,
            quirk=quirk,
        )
    return rows


def nearest(name: str, known: Iterable[str] | None = None) -> str | None:
    """Return the known architecture with the most similar name, or None if no name is similar."""
    names = list(architectures() if known is None else known)
    matches = difflib.get_close_matches(name, names, n=1, cutoff=0.5)
    return matches[0] if matches else None


# name family efficient num_params native_size_px fixed_size.
# Source of family and efficient: Selvan et al. 2025; of the other columns: timm 1.0.31.
_TABLE = """
dla46x_c CNN no 1068440 224 no
dla46_c CNN no 1301400 224 no
mobilevitv2_050 Other yes 1370593 256 no
mobilenetv2_050 CNN yes 1968680 224 no
semnasnet_075 Other yes 2912278 224 no
pvt_v2_b0 Other yes 3666760 224 no
convnext_atto CNN no 3695520 224 no
mnasnet_100 Other yes 4383312 224 no
spnasnet_100 Other yes 4421616 224 no
ghostnet_100 CNN yes 5182508 224 no
hardcorenas_a Other yes 5260232 224 no
efficientnet_b0 CNN yes 5288548 224 no
fbnetc_100 CNN yes 5572200 224 no
mobilevit_s Other yes 5578632 256 no
tinynet_a CNN yes 6187972 192 no
ese_vovnet19b_dw CNN yes 6543080 224 no
densenet121 CNN no 7978856 224 no
densenetblur121d CNN no 7998088 224 no
crossvit_9_240 Other yes 8553296 240 yes
fbnetv3_b CNN yes 8598464 224 no
resnet14t CNN no 10081632 176 no
seresnext26ts Other no 10388064 256 no
gcresnext26ts Other no 10476600 256 no
eca_botnext26ts_256 Other no 10593301 256 yes
bat_resnext26ts Other no 10731200 256 no
lambda_resnet26rpt_256 Other no 10988688 256 yes
resnet18d CNN no 11708744 224 no
halonet26t Other no 12480288 256 no
botnet26t_256 Other no 12488672 256 yes
dpn68 CNN no 12611602 224 no
dpn68b CNN no 12611602 224 no
gc_efficientnetv2_rw_t Other yes 13677713 224 no
sehalonet33ts Other no 13691712 256 no
sebotnet33ts_256 Other no 13701984 256 yes
densenet169 CNN no 14149480 224 no
maxvit_nano_rw_256 Other no 15451148 256 yes
gcresnext50ts Other no 15667320 256 no
dla34 CNN no 15742104 224 no
ecaresnet26t Other yes 16011916 256 no
resnet26d CNN no 16014408 224 no
maxxvit_rmlp_nano_rw_256 Other no 16779628 256 yes
seresnext26t_32x4d Other no 16806976 224 no
seresnext26d_32x4d Other no 16809512 224 no
dla60x CNN no 17352344 224 no
resnet32ts CNN no 17963616 256 no
edgenext_base Other yes 18511292 256 no
eca_resnet33ts Other yes 19676302 256 no
seresnet33ts Other no 19779200 256 no
gcresnet33ts Other no 19880698 256 no
densenet201 CNN no 20013928 224 no
cspresnext50 CNN no 20569896 256 no
regnetv_040 CNN no 20640640 224 no
convmixer_768_32 CNN no 21110248 224 no
cs3darknet_focus_l CNN no 21151720 256 no
hrnet_w18 CNN no 21299004 224 no
cspresnet50 Other yes 21616168 256 no
gluon_resnet34_v1b CNN no 21797672 224 no
resnet34d CNN no 21816904 224 no
cs3sedarknet_l Other yes 21913592 256 no
dla60 CNN no 22036632 224 no
lamhalobotnet50ts_256 Other no 22569824 256 yes
halo2botnet50ts_256 Other no 22635360 256 yes
halonet50ts Other no 22733280 256 no
adv_inception_v3 CNN no 23834568 299 no
gluon_inception_v3 CNN no 23834568 299 no
res2next50 CNN no 24671464 224 no
resnext50d_32x4d CNN no 25048136 224 no
res2net50_14w_8s CNN no 25059816 224 no
resnetv2_50 CNN no 25549352 224 no
resnetblur50 CNN no 25557032 224 no
resnetaa50 CNN no 25557032 224 no
ecaresnet50t Other yes 25573814 256 no
ecaresnet50d Other yes 25576350 224 no
gcresnet50t Other no 25897080 256 no
dla102x CNN no 26309272 224 no
xception41p CNN no 26907752 299 no
xception41 CNN no 26969560 299 no
gluon_seresnext50_32x4d CNN no 27559896 224 no
cspdarknet53 Other yes 27642184 256 no
legacy_seresnet50 CNN no 28088024 224 no
repvgg_a2 CNN yes 28210600 224 no
convnext_tiny_hnf CNN no 28589128 224 no
densenet161 CNN no 28681000 224 no
ecaresnetlight Other no 30162046 224 no
selecsls60 CNN no 30670768 224 no
gernet_l CNN yes 31078280 256 no
selecsls42b CNN no 32458248 224 no
selecsls60b CNN no 32774064 224 no
dla102 CNN no 33268888 224 no
resnetrs50 CNN no 35691912 160 no
resnet51q CNN no 35696920 256 no
darknetaa53 CNN no 36022984 256 no
resnet61q CNN no 36846968 256 no
dpn92 CNN no 37668392 224 no
xception65p CNN no 39819560 299 no
xception65 CNN no 39916312 299 no
dla102x2 CNN no 41282200 224 no
xception71 CNN no 42338736 299 no
twins_pcpvt_base Other no 43828456 224 yes
gluon_resnext101_32x4d CNN no 44177704 224 no
ecaresnet101d Other yes 44568563 224 no
res2net101_26w_4s CNN no 45206688 224 no
cs3edgenet_x Other yes 47821120 256 no
gluon_seresnext101_32x4d CNN no 48955416 224 no
cs3se_edgenet_x Other yes 50721584 256 no
efficientnetv2_rw_m CNN yes 53236442 320 no
dla169 CNN no 53389720 224 no
sequencer2d_l Other no 54298216 224 yes
poolformer_m36 Other no 56172520 224 no
gluon_resnet152_v1b CNN no 60192808 224 no
resnet152d CNN no 60212040 256 no
dpn98 CNN no 61570728 224 no
resnetrs101 CNN no 63618696 192 no
resnet200d CNN no 64693064 256 no
seresnet152d Other no 66841080 256 no
wide_resnet50_2 CNN no 68883240 224 no
dm_nfnet_f0 CNN no 71489284 192 no
dpn131 CNN no 79254504 224 no
pnasnet5large Other no 86057668 331 no
resnetrs152 CNN no 86621576 256 no
dpn107 CNN no 86917800 224 no
swinv2_base_window8_256 Other no 87918816 256 yes
nasnetalarge Other no 88753150 331 no
resnetrs200 CNN no 93209992 256 no
seresnext101d_32x8d Other no 93588280 224 no
seresnextaa101d_32x8d Other no 93588280 288 no
ecaresnet269d Other yes 102093077 320 no
legacy_senet154 CNN no 115088984 224 no
resnetrs270 CNN no 129861448 256 no
vgg11 CNN no 132863336 224 no
vgg13 CNN no 133047848 224 no
"""

# names, min_px, multiple_of_px, quirk. Found by building, running and training each architecture for one step
# at 32 to 299 px, with timm 1.0.31. Sizes that work only because of rounding (resnetaa50: 33, 34) are left
# out.
_ANY_SIZE = (MIN_PX, 1, "")
_SIZES: tuple[tuple[str, int, int, str], ...] = (
    (
        "dla46x_c dla46_c dla34 dla60x dla60 dla102x dla102 dla102x2 dla169 hrnet_w18",
        32,
        32,
        "adds feature maps of several strides up to 32, which must divide the image",
    ),
    (
        "resnetaa50 seresnextaa101d_32x8d",
        32,
        32,
        "its anti-aliasing pooling and its shortcut round odd sizes differently",
    ),
    (
        "adv_inception_v3 gluon_inception_v3",
        75,
        1,
        "its first layers have no padding: below 75 px they leave nothing of the image",
    ),
    (
        "eca_botnext26ts_256 botnet26t_256 sebotnet33ts_256",
        32,
        32,
        "self-attention with positions for one size, at strides up to 32",
    ),
    ("lambda_resnet26rpt_256", 32, 32, "lambda layers with positions for one size, at strides up to 32"),
    (
        "maxvit_nano_rw_256 maxxvit_rmlp_nano_rw_256",
        32,
        32,
        "windows of 1/32 of the image, which must divide every feature map",
    ),
    (
        "lamhalobotnet50ts_256 halo2botnet50ts_256",
        128,
        128,
        "halo attention in blocks of 8 x 8, at strides up to 16",
    ),
    (
        "halonet26t halonet50ts sehalonet33ts",
        256,
        256,
        "halo attention in blocks of 8 x 8, at strides up to 32",
    ),
    ("bat_resnext26ts", 256, 256, "bilinear attention in blocks of 8 x 8, at strides up to 32"),
)
