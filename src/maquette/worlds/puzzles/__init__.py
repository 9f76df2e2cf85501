"""Questions with exact answers: seeded generators with a knob for difficulty, and checkers that a reply cannot fool."""
