"""What episodes look like: their states gathered in arrays, so that many are drawn at once."""

import numpy as np
from jaxtyping import UInt8

from maquette.worlds.scene.actions.episode import Episode
from maquette.worlds.scene.render import Painter


class Camera:
    """Sees a number of episodes, each replaced by another when it is over.

    Args:
        episodes: those at the start.
        size: width of the frames in pixels.
    """

    def __init__(self, episodes: list[Episode], size: int) -> None:
        self._painter = Painter([episode.assignment.scene for episode in episodes], size)
        count = len(episodes)
        self._position, self._angle = np.zeros((count, 0, 2)), np.zeros((count, 0))
        self._layers = np.zeros((count, 0), int)
        self._opening, self._grip = np.zeros(count), np.ones(count)
        self._joints = np.zeros((count, len(episodes[0].body.joints()), 2))
        for i, episode in enumerate(episodes):
            self._take_in(i, episode)

    def turn_to(self, i: int, episode: Episode) -> None:
        """See another episode in the place of number `i`."""
        self._painter.set(i, episode.assignment.scene)
        self._take_in(i, episode)

    def look(self, i: int, episode: Episode) -> None:
        """Take in how number `i` stands now."""
        table, things = episode.table, len(episode.table.things)
        self._position[i, :things], self._angle[i, :things] = table.position, table.angle
        self._layers[i, :things] = table.layers()
        self._opening[i], self._grip[i] = table.opening, table.grip
        self._joints[i] = episode.body.joints()

    def frames(self) -> UInt8[np.ndarray, "episodes size size 3"]:
        """All of them as they were last looked at."""
        return self._painter.draw(
            self._position,
            self._angle,
            layers=self._layers,
            opening=self._opening,
            joints=self._joints,
            grip=self._grip,
        )

    def _take_in(self, i: int, episode: Episode) -> None:
        more = len(episode.table.things) - self._angle.shape[1]
        if more > 0:
            self._position = np.pad(self._position, ((0, 0), (0, more), (0, 0)))
            self._angle, self._layers = (np.pad(old, ((0, 0), (0, more))) for old in (self._angle, self._layers))
        self.look(i, episode)
