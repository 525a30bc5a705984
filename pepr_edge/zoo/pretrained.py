"""timm's pretrained weights for the architectures of the paper.

They are the default weights of timm 1.0.31. The table pins them, so that another version of timm begins with
the same weights, and finds them without importing timm, which takes seconds.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache

from pepr_edge.records import Interpolation


@dataclass(frozen=True)
class Pretrained:
    """Weights that timm offers for an architecture.

    `name` is timm's name of architecture and weights, such as "resnet18.a1_in1k". `interpolation` is the
    filter by which their training images were resized, `licence` the weights' own. `repository` is that on
    the Hugging Face hub, empty for weights that only a URL has; `file_name` is a file there, empty for timm's
    usual names. `only_px` is the one image size that the weights fit; None: any that the architecture takes.
    """

    name: str
    interpolation: Interpolation
    licence: str
    repository: str
    url: str = ""
    file_name: str = ""
    only_px: int | None = None


@cache
def pretrained_weights() -> dict[str, Pretrained]:
    """Return the weights for each architecture of the paper, by the name of the architecture."""
    rows = {}
    for line in _TABLE.strip().splitlines():
        architecture, weights, interpolation, licence, *urls = line.split()
        name = weights if "." in weights else f"{architecture}.{weights}"
        rows[architecture] = Pretrained(
            name=name,
            interpolation=_FILTERS[interpolation],
            licence=licence,
            repository="" if urls else f"timm/{name}",
            url=f"{_RELEASES}{urls[0]}" if urls else "",
            only_px=256 if architecture in _ONLY_256_PX else None,
        )
    return rows


# Their attention has weights for each place in an image of this size, and timm converts them to no other.
_ONLY_256_PX = (
    "eca_botnext26ts_256",
    "lambda_resnet26rpt_256",
    "botnet26t_256",
    "sebotnet33ts_256",
    "lamhalobotnet50ts_256",
    "halo2botnet50ts_256",
)
_FILTERS: dict[str, Interpolation] = {"bilinear": "bilinear", "bicubic": "bicubic"}
_RELEASES = "https://github.com/rwightman/pytorch-image-models/releases/download/"

# architecture weights interpolation licence [url]. `weights` has another architecture before its point where
# timm has renamed the architecture. Source: timm 1.0.31.
_TABLE = """
dla46x_c in1k bilinear bsd-3-clause
dla46_c in1k bilinear bsd-3-clause
mobilevitv2_050 cvnets_in1k bicubic cvnets-license
mobilenetv2_050 lamb_in1k bicubic apache-2.0
semnasnet_075 rmsp_in1k bicubic apache-2.0
pvt_v2_b0 in1k bicubic apache-2.0
convnext_atto d2_in1k bicubic apache-2.0
mnasnet_100 rmsp_in1k bicubic apache-2.0
spnasnet_100 rmsp_in1k bilinear apache-2.0
ghostnet_100 in1k bicubic apache-2.0
hardcorenas_a miil_green_in1k bilinear apache-2.0
efficientnet_b0 ra_in1k bicubic apache-2.0
fbnetc_100 rmsp_in1k bilinear apache-2.0
mobilevit_s cvnets_in1k bicubic cvnets-license
tinynet_a in1k bicubic apache-2.0
ese_vovnet19b_dw ra_in1k bicubic apache-2.0
densenet121 ra_in1k bicubic apache-2.0
densenetblur121d ra_in1k bicubic apache-2.0
crossvit_9_240 in1k bicubic apache-2.0
fbnetv3_b ra2_in1k bilinear apache-2.0
resnet14t c3_in1k bicubic apache-2.0
seresnext26ts ch_in1k bicubic apache-2.0
gcresnext26ts ch_in1k bicubic apache-2.0
eca_botnext26ts_256 c1_in1k bicubic apache-2.0
bat_resnext26ts ch_in1k bicubic apache-2.0
lambda_resnet26rpt_256 c1_in1k bicubic apache-2.0
resnet18d ra2_in1k bicubic apache-2.0
halonet26t a1h_in1k bicubic apache-2.0
botnet26t_256 c1_in1k bicubic apache-2.0
dpn68 mx_in1k bicubic apache-2.0
dpn68b ra_in1k bicubic apache-2.0
gc_efficientnetv2_rw_t agc_in1k bicubic apache-2.0
sehalonet33ts ra2_in1k bicubic apache-2.0
sebotnet33ts_256 a1h_in1k bicubic apache-2.0
densenet169 tv_in1k bicubic apache-2.0
maxvit_nano_rw_256 sw_in1k bicubic apache-2.0
gcresnext50ts ch_in1k bicubic apache-2.0
dla34 in1k bilinear bsd-3-clause
ecaresnet26t ra2_in1k bicubic apache-2.0
resnet26d bt_in1k bicubic apache-2.0
maxxvit_rmlp_nano_rw_256 sw_in1k bicubic apache-2.0
seresnext26t_32x4d bt_in1k bicubic apache-2.0
seresnext26d_32x4d bt_in1k bicubic apache-2.0
dla60x in1k bilinear bsd-3-clause
resnet32ts ra2_in1k bicubic apache-2.0
edgenext_base usi_in1k bicubic mit
eca_resnet33ts ra2_in1k bicubic apache-2.0
seresnet33ts ra2_in1k bicubic apache-2.0
gcresnet33ts ra2_in1k bicubic apache-2.0
densenet201 tv_in1k bicubic apache-2.0
cspresnext50 ra_in1k bilinear apache-2.0
regnetv_040 ra3_in1k bicubic apache-2.0
convmixer_768_32 in1k bicubic mit
cs3darknet_focus_l c2ns_in1k bicubic apache-2.0
hrnet_w18 ms_aug_in1k bilinear mit
cspresnet50 ra_in1k bilinear apache-2.0
gluon_resnet34_v1b resnet34.gluon_in1k bicubic apache-2.0
resnet34d ra2_in1k bicubic apache-2.0
cs3sedarknet_l c2ns_in1k bicubic apache-2.0
dla60 in1k bilinear bsd-3-clause
lamhalobotnet50ts_256 a1h_in1k bicubic apache-2.0
halo2botnet50ts_256 a1h_in1k bicubic apache-2.0
halonet50ts a1h_in1k bicubic apache-2.0
adv_inception_v3 inception_v3.tf_adv_in1k bicubic apache-2.0
gluon_inception_v3 inception_v3.gluon_in1k bicubic apache-2.0
res2next50 in1k bilinear unknown
resnext50d_32x4d bt_in1k bicubic apache-2.0
res2net50_14w_8s in1k bilinear unknown
resnetv2_50 a1h_in1k bicubic apache-2.0
resnetblur50 bt_in1k bicubic apache-2.0
resnetaa50 a1h_in1k bicubic apache-2.0
ecaresnet50t ra2_in1k bicubic apache-2.0
ecaresnet50d miil_in1k bicubic apache-2.0
gcresnet50t ra2_in1k bicubic apache-2.0
dla102x in1k bilinear bsd-3-clause
xception41p ra3_in1k bicubic apache-2.0
xception41 tf_in1k bicubic apache-2.0
gluon_seresnext50_32x4d seresnext50_32x4d.gluon_in1k bicubic apache-2.0
cspdarknet53 ra_in1k bilinear apache-2.0
legacy_seresnet50 in1k bilinear apache-2.0 v0.1-cadene/se_resnet50-ce0d4300.pth
repvgg_a2 rvgg_in1k bilinear mit
convnext_tiny_hnf a2h_in1k bicubic apache-2.0
densenet161 tv_in1k bicubic apache-2.0
ecaresnetlight miil_in1k bicubic apache-2.0
selecsls60 in1k bicubic cc-by-4.0
gernet_l idstcv_in1k bilinear apache-2.0
selecsls42b in1k bicubic cc-by-4.0
selecsls60b in1k bicubic cc-by-4.0
dla102 in1k bilinear bsd-3-clause
resnetrs50 tf_in1k bicubic apache-2.0
resnet51q ra2_in1k bilinear apache-2.0
darknetaa53 c2ns_in1k bilinear apache-2.0
resnet61q ra2_in1k bicubic apache-2.0
dpn92 mx_in1k bicubic apache-2.0
xception65p ra3_in1k bicubic apache-2.0
xception65 ra3_in1k bicubic apache-2.0
dla102x2 in1k bilinear bsd-3-clause
xception71 tf_in1k bicubic apache-2.0
twins_pcpvt_base in1k bicubic apache-2.0
gluon_resnext101_32x4d resnext101_32x4d.gluon_in1k bicubic apache-2.0
ecaresnet101d miil_in1k bicubic apache-2.0
res2net101_26w_4s in1k bilinear unknown
cs3edgenet_x c2_in1k bicubic apache-2.0
gluon_seresnext101_32x4d seresnext101_32x4d.gluon_in1k bicubic apache-2.0
cs3se_edgenet_x c2ns_in1k bicubic apache-2.0
efficientnetv2_rw_m agc_in1k bicubic apache-2.0
dla169 in1k bilinear bsd-3-clause
sequencer2d_l in1k bicubic apache-2.0
poolformer_m36 sail_in1k bicubic apache-2.0
gluon_resnet152_v1b resnet152.gluon_in1k bicubic apache-2.0
resnet152d ra2_in1k bicubic apache-2.0
dpn98 mx_in1k bicubic apache-2.0
resnetrs101 tf_in1k bicubic apache-2.0
resnet200d ra2_in1k bicubic apache-2.0
seresnet152d ra2_in1k bicubic apache-2.0
wide_resnet50_2 racm_in1k bicubic apache-2.0
dm_nfnet_f0 dm_in1k bicubic apache-2.0
dpn131 mx_in1k bicubic apache-2.0
pnasnet5large tf_in1k bicubic apache-2.0
resnetrs152 tf_in1k bicubic apache-2.0
dpn107 mx_in1k bicubic apache-2.0
swinv2_base_window8_256 ms_in1k bicubic mit
nasnetalarge tf_in1k bicubic apache-2.0
resnetrs200 tf_in1k bicubic apache-2.0
seresnext101d_32x8d ah_in1k bicubic apache-2.0
seresnextaa101d_32x8d sw_in12k_ft_in1k_288 bicubic apache-2.0
ecaresnet269d ra2_in1k bicubic apache-2.0
legacy_senet154 in1k bilinear apache-2.0 v0.1-weights/legacy_senet154-e9eb9fe6.pth
resnetrs270 tf_in1k bicubic apache-2.0
vgg11 tv_in1k bilinear bsd-3-clause
vgg13 tv_in1k bilinear bsd-3-clause
"""
