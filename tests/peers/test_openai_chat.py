"""OpenAI's own client talks to the server of a language model: chats, texts, streams, and errors of its own types."""

import pytest

openai = pytest.importorskip("openai", reason="needs openai: make test-peers")

from gendiff.commands.serve.text_app import text_app  # noqa: E402
from gendiff.commands.serve.text_batching import TextBatcher  # noqa: E402
from gendiff.commands.serve.text_requests import TextLimits  # noqa: E402
from tests.commands.serve.fake_tokens import END, FakeTokens, chat_model, reply  # noqa: E402
from tests.commands.serve.serving import serving  # noqa: E402

pytestmark = pytest.mark.peers
KEY = "a-key-that-nobody-guesses"
HELLO = [{"role": "user", "content": "Hello"}]


@pytest.fixture(scope="module")
def client():
    batcher = TextBatcher(FakeTokens(together=2, broken=(14,)), chat_model().tokenizer.pieces, [END], 8)
    app = text_app(chat_model(), batcher, TextLimits("tiny", 220, 200, 4), None, (KEY,))
    with serving(app) as (port, _):
        with openai.OpenAI(api_key=KEY, base_url=f"http://127.0.0.1:{port}/v1", max_retries=0) as client:
            yield client


def test_a_chat_comes_as_its_client_reads_it_and_goes_on(client):
    assert [model.id for model in client.models.list()] == ["tiny"]
    answer = client.chat.completions.create(
        model="tiny", messages=HELLO, seed=1, n=2, temperature=0.5, top_p=0.9, max_completion_tokens=100
    )
    assert [choice.message.content for choice in answer.choices] == [reply(1, 0), reply(1, 1)]
    assert answer.usage.total_tokens == answer.usage.prompt_tokens + answer.usage.completion_tokens
    messages = [*HELLO, answer.choices[0].message, {"role": "user", "content": [{"type": "text", "text": "More"}]}]
    assert client.chat.completions.create(model="tiny", messages=messages, seed=2).choices[0].finish_reason == "stop"


def test_log_probabilities_are_of_its_types(client):
    about = {"model": "tiny", "seed": 1, "stop": [" 0"]}
    answer = client.chat.completions.create(messages=HELLO, logprobs=True, top_logprobs=2, **about)
    content = answer.choices[0].logprobs.content
    assert [score.token for score in content] == list("reply") and content[1].logprob == -1.5
    assert [(top.token, top.bytes) for top in content[0].top_logprobs] == [("A", [65]), ("B", [66])]
    logprobs = client.completions.create(prompt="a", logprobs=1, **about).choices[0].logprobs
    assert logprobs.tokens == list("reply") and logprobs.text_offset == [0, 1, 2, 3, 4]


def test_a_stream_has_chunks_of_its_types(client):
    about = {"model": "tiny", "seed": 1, "stream": True, "stream_options": {"include_usage": True}}
    *chunks, last = client.chat.completions.create(messages=HELLO, **about)
    assert "".join(chunk.choices[0].delta.content or "" for chunk in chunks) == reply(1, 0)
    assert chunks[-1].choices[0].finish_reason == "stop" and last.usage.completion_tokens > 10 and not last.choices
    *chunks, last = client.completions.create(prompt="a", max_tokens=100, **about)
    assert "".join(chunk.choices[0].text for chunk in chunks) == reply(1, 0) and last.usage.prompt_tokens == 1
    with client.chat.completions.stream(model="tiny", messages=HELLO, seed=1) as stream:
        assert stream.get_final_completion().choices[0].message.content == reply(1, 0)


def test_errors_are_of_its_types(client, capfd):
    create = client.chat.completions.create
    with pytest.raises(openai.AuthenticationError, match="send a key"):
        client.with_options(api_key="wrong").models.list()
    with pytest.raises(openai.NotFoundError, match="this server has 'tiny'"):
        create(model="gpt-4", messages=HELLO)
    with pytest.raises(openai.BadRequestError, match="together at most 220") as caught:
        create(model="tiny", messages=[{"role": "user", "content": "x" * 300}])
    assert (caught.value.code, caught.value.param) == ("context_length_exceeded", "messages")
    with pytest.raises(openai.BadRequestError, match="tools"):
        create(model="tiny", messages=HELLO, tools=[{"type": "function", "function": {"name": "f"}}])
    with pytest.raises(openai.InternalServerError, match="no memory is left"):
        create(model="tiny", messages=HELLO, seed=14)
    with pytest.raises(openai.APIError, match="no memory is left"):
        list(create(model="tiny", messages=HELLO, seed=14, stream=True))
    capfd.readouterr()
