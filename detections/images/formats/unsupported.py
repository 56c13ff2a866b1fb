"""Names the kinds of files that are refused, so that their owners know what to do."""

import re

from detections.images.formats.containers import Source

_START = 4096  # bytes that are looked at; an SVG may begin with comments

_KINDS = {
    rb"%PDF-": "PDF",
    rb"\s*(?:\xef\xbb\xbf)?\s*<(?=[^\0]*<svg[\s>]|svg[\s>])": "SVG",
    rb"\s*(?:\xef\xbb\xbf)?\s*(?i:<!doctype html|<html)": "HTML",
    rb"%!PS|\xc5\xd0\xd3\xc6": "PostScript",
    rb"8BPS": "Photoshop",
    rb"gimp xcf": "GIMP",
    rb"\0\0\0\x0cjP  |\xff\x4f\xff\x51": "JPEG 2000",
    rb"\0\0\0\x0cJXL |\xff\x0a": "JPEG XL",
    rb"II\xbc": "JPEG XR",
    rb"\x76\x2f\x31\x01": "OpenEXR",
    rb"#\?R": "Radiance HDR",
    rb"P[1-7][\s#]": "Netpbm",
    rb"\0\0\x01\0": "icon",
    rb"AT&TFORM": "DjVu",
    rb"SIMPLE  =": "FITS",
    rb".{128}DICM": "DICOM",
    rb"\xd7\xcd\xc6\x9a|.{40} EMF": "Windows metafile",
    rb"FUJIFILMCCD-RAW": "camera raw (Fujifilm)",
    rb".{4}ftypcrx |II\x1a\0\0\0HEAPCCDR": "camera raw (Canon)",
    rb"IIR[OS]|MMOR": "camera raw (Olympus)",
    rb"IIU\0": "camera raw (Panasonic)",
    rb"FOVb": "camera raw (Sigma)",
    rb"\0MRM": "camera raw (Minolta)",
    rb".{4}ftyp|\x1a\x45\xdf\xa3|RIFF.{4}AVI |\0\0\x01[\xb3\xba]|FLV": "video",
    rb"RIFF.{4}WAVE|ID3|OggS|fLaC": "audio",
    rb"PK\x03\x04|PK\x05\x06|Rar!|7z\xbc\xaf|\x1f\x8b": "archive",
    rb"data:image/|/9j/4|iVBORw0KGgo": "text in Base64",
}
_PATTERNS = {re.compile(pattern, re.DOTALL): name for pattern, name in _KINDS.items()}


def name_of(source: Source) -> str:
    """The name of the file's kind by how it begins; empty if it is not known."""
    start = source.at(0, min(_START, source.length))
    return next((name for pattern, name in _PATTERNS.items() if pattern.match(start)), "")
