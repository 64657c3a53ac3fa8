"""Topics of the text streams between the agent and the caller's page."""

LOOKUP_TOPIC = "faqlab.lookup"  # one JSON object per look-up: `LookupRecord.message()`
NOTICE_TOPIC = "faqlab.notice"  # `{"level": "info" or "warning", "text": …}`
FEEDBACK_TOPIC = "faqlab.feedback"  # from the page: a look-up's id, and after a space whether it helped: "yes" or "no"
