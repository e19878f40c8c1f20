"""Where the regions of Object Storage are (Object Storage overview, "Calling domain": public and government cloud)."""

from __future__ import annotations

from collections.abc import Mapping

REGIONS: Mapping[str, str] = {
    "kr-standard": "https://kr.object.ncloudstorage.com",
    "us-standard": "https://us.object.ncloudstorage.com",
    "sg-standard": "https://sg.object.ncloudstorage.com",
    "jp-standard": "https://jp.object.ncpstorage.com",
    "de-standard": "https://de.object.ncloudstorage.com",
    "gov-standard": "https://kr.object.gov-ncloudstorage.com",
    "gov2-standard": "https://krs.object.gov-ncloudstorage.com",
}
