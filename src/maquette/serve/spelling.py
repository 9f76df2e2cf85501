"""What single tokens look like: their bytes, and a name for those that are no whole characters."""

import re
from collections.abc import Iterable

from tokenizers import Tokenizer
from tokenizers.decoders import DecodeStream

from maquette.language.tokenizers import byte_tokenizer

_FALLBACK = re.compile(r"<0x([0-9A-F]{2})>")


class Spelling:
    """A tokenizer's tokens as OpenAI writes them."""

    def __init__(self, tokenizer: Tokenizer) -> None:
        self.tokenizer = tokenizer
        self._added = {number: token.content for number, token in tokenizer.get_added_tokens_decoder().items()}
        self._bytes = (
            byte_tokenizer().get_vocab(with_added_tokens=False) if "ByteLevel" in repr(tokenizer.decoder) else {}
        )
        self._known: dict[int, tuple[str, bytes]] = {}

    def bytes_of(self, token: int) -> bytes:
        """The bytes that it stands for; a special token's are those of its name."""
        return self._look_up(token)[1]

    def text_of(self, token: int) -> str:
        """Its text, or `bytes:\\xe2\\x80` where its bytes are part of a character, as OpenAI writes them."""
        return self._look_up(token)[0]

    def _look_up(self, token: int) -> tuple[str, bytes]:
        if token not in self._known:
            raw = self._raw(token)
            try:
                self._known[token] = raw.decode(), raw
            except UnicodeDecodeError:
                self._known[token] = "bytes:" + "".join(f"\\x{byte:02x}" for byte in raw), raw
        return self._known[token]

    def _raw(self, token: int) -> bytes:
        if token in self._added:
            return self._added[token].encode()
        name = self.tokenizer.id_to_token(token) or ""
        if self._bytes and all(character in self._bytes for character in name):
            return bytes(self._bytes[character] for character in name)
        if found := _FALLBACK.fullmatch(name):
            return bytes([int(found[1], 16)])
        return name.replace("▁", " ").encode()  # SentencePiece's own mark of a space


class Places:
    """Where in a growing text each of its tokens begins."""

    def __init__(self, tokenizer: Tokenizer, before: int = 0) -> None:
        """`before` characters stand in front of it."""
        self.tokenizer, self.length = tokenizer, before
        self._stream = DecodeStream(skip_special_tokens=True)

    def of(self, tokens: Iterable[int]) -> list[int]:
        """The characters at which the next tokens begin; one inside a character begins where that does."""
        places = []
        for token in tokens:
            places.append(self.length)
            self.length += len(self._stream.step(self.tokenizer, token) or "")
        return places
