from __future__ import annotations

import pytest

from pepr_edge.device import saturation


@pytest.mark.parametrize(
    ("variant", "machine", "system", "isa", "keyword"),
    [
        ("int8_static", "x86_64", "linux", ("avx", "avx2"), "this CPU has no VNNI"),
        ("int8_pointwise", "AMD64", "win32", ("avx2",), "this CPU most likely has no VNNI"),
        ("int8_static", "x86_64", "linux", ("ssse3", "avx"), ""),
        ("int8_static", "x86_64", "linux", (), "this CPU most likely has no VNNI"),
        ("int8_static", "x86_64", "linux", ("avx512f", "avx512_vnni"), ""),
        ("int8_static", "x86_64", "linux", ("avx2", "avx_vnni"), ""),
        ("int8_static", "aarch64", "linux", ("asimd",), ""),
        ("fp32", "x86_64", "linux", ("avx2",), ""),
    ],
)
def test_saturation_is_suspected_where_it_can_be(
    monkeypatch: pytest.MonkeyPatch,
    variant: str,
    machine: str,
    system: str,
    isa: tuple[str, ...],
    keyword: str,
) -> None:
    monkeypatch.setattr(saturation.platform, "machine", lambda: machine)
    monkeypatch.setattr(saturation.sys, "platform", system)
    monkeypatch.setattr(saturation, "isa", lambda: isa)
    explanation = saturation.explanation(variant)
    assert explanation.startswith(f"int8 saturation: {keyword}") if keyword else explanation == ""
