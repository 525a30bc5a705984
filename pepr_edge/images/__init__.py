"""From an image file to a model's input: decoding, DICOM, preprocessing."""

__all__ = ["depth", "dicom", "dicom_patient", "formats", "preprocess", "unlike"]
