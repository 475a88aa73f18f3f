"""A small server of pictures: requests in the form of OpenAI's API, drawn together by one program, and a page to try
it.

The order of reading: `image_requests` and `edit_requests` (what may be asked), `served_network` (what draws),
`compiled_steps` (its compiled programs), `batching` (continuous batching of steps), `scheduler_thread` (the thread that
drives it), `answering` and `web_app` (HTTP), `command`.
"""
