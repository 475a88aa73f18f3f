"""A small server of pictures: requests in the form of OpenAI's API, drawn together by one program, and a page to try
it.

The order of reading: `picture_orders` (what may be asked), `served_network` (what draws), `slot_programs` (its compiled
programs), `batching` (which picture takes its next step when), `turning` (the thread that drives it), `answering` and
`web_app` (HTTP), `command`.
"""
