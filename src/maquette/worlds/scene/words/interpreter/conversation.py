"""A dialogue followed turn by turn: who asks gets a right answer, and what is wrong is put right in the next turn."""

from collections.abc import Sequence
from dataclasses import replace

from maquette.core.errors import UserError
from maquette.worlds.scene.state import Clip, Scene
from maquette.worlds.scene.words.interpreter import aims, answers, orders, sentences
from maquette.worlds.scene.words.interpreter.meaning import Question
from maquette.worlds.scene.words.interpreter.reading import split
from maquette.worlds.scene.words.interpreter.truth import Talk, statement_holds


class Conversation:
    """What has been asked, claimed and corrected so far."""

    def __init__(self, state: Scene | Clip) -> None:
        self.talk = Talk.about(state)
        self.state = state
        self.open: Question | None = None
        self.wrong = False
        """Whether the last turn said something that is not so."""
        self.claimed = False

    def hear(self, words: tuple[str, ...], asks: bool) -> bool:
        """Take in a sentence; False if it makes the dialogue untrue."""
        if self.wrong:
            return self._corrected(words)
        if orders.is_order(words):
            aims.goal(Talk(world=aims.table_of(self.state), it=self.talk.it), orders.instruction(words))
            return self.open is None
        if asks:
            self.open = sentences.question(words)
            return True
        reply = sentences.reply(words)
        if reply.word == "ok":
            return self.open is None and not reply.said
        if self.open is not None:
            if answers.answers(self.talk, self.open, reply):
                self.open = None
            else:
                self.wrong = True
            return True
        if reply.word == "yes" and self.claimed:
            return all(statement_holds(self.talk, statement) for statement in reply.said)
        if not reply.said or reply.word:
            return False
        self.claimed = all([statement_holds(self.talk, statement) for statement in reply.said])
        self.wrong = not self.claimed
        return True

    def _corrected(self, words: tuple[str, ...]) -> bool:
        reply = sentences.reply(words)
        if reply.word != "no" or not reply.said:
            return False
        if self.open is not None and self.open.kind != "yes/no":
            right = answers.answers(self.talk, self.open, replace(reply, word=""))
        else:
            right = all(statement_holds(self.talk, statement) for statement in reply.said)
        self.open, self.wrong = None, False
        return right


def is_true(turns: Sequence[str], state: Scene | Clip) -> bool:
    """Whether a dialogue is right in the end: nothing false stands, no question is left open."""
    if not turns:
        raise UserError("A dialogue of no turns says nothing; give at least one.")
    conversation = Conversation(state)
    for turn in turns:
        for words, asks in split(turn):
            if not conversation.hear(words, asks):
                return False
    return not conversation.wrong and conversation.open is None
