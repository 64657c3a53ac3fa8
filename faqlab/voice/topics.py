"""Topics of the text streams that the agent sends to the caller's page."""

LOOKUP_TOPIC = "faqlab.lookup"  # one JSON object per look-up: `LookupRecord.message()`
NOTICE_TOPIC = "faqlab.notice"  # `{"level": "info" or "warning", "text": …}`
