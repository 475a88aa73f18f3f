"""A small server of pictures, or of a language model: requests in the form of OpenAI's API, answered together by one
program, and a page to try pictures.

The order of reading: `http_service` (what both have in common over HTTP), `request_scheduler` (whose turn it is),
`scheduler_thread` (the thread that drives it) and `awaited_answer` (one request on its way). Of pictures:
`image_requests` and `edit_requests` (what may be asked), `served_network` (what draws), `compiled_steps` (its compiled
programs), `batching` (continuous batching of steps), `answering` and `web_app`. Of texts: `text_requests`,
`token_steps`, `text_batching`, `reply_text` (stop strings), `text_answers` and `text_app`. Last: `command`.
"""
