"""The turns of phrase of the simulated LLMs: openings, closings, asides, synonyms."""

from __future__ import annotations

OPENINGS = {
    "warm": (
        "Happy to help with {topic}!",
        "What a lovely request! Let's look at {topic} together.",
        "Of course! I'd be delighted to help you with {topic}.",
        "Great, this is a fun one! Here we go:",
    ),
    "plain": (
        "Here is an answer on {topic}.",
        "Sure. Here it is:",
        "Let us go through {topic}.",
        "Below is what you asked for.",
    ),
    "formal": (
        "The following addresses {topic}.",
        "Please find the requested answer below.",
        "With regard to {topic}, the following can be said.",
        "This response sets out {topic} in order.",
    ),
    "wry": (
        "Ah, {topic}. Stranger things have been asked of me.",
        "Let me put on my reading glasses for {topic}.",
        "I promise to be brief, which for me is a kind of sport.",
        "A fair question, and no dragons in sight.",
    ),
}
CLOSINGS = {
    "warm": (
        "I hope this helps! Just tell me if you would like changes.",
        "You've got this! I'm here if you need anything else.",
        "Wishing you a wonderful day! Feel free to ask for more.",
    ),
    "plain": (
        "Let me know if you would like it shorter or longer.",
        "Tell me if anything should be changed.",
        "That covers the request.",
    ),
    "formal": (
        "Further detail can be supplied on request.",
        "Should anything remain unclear, clarification can be given.",
        "This concludes the answer.",
    ),
    "wry": (
        "And that is that; no rabbits were pulled out of hats.",
        "If it reads too neatly, blame my tidy upbringing.",
        "I rest my case, and my pencil.",
    ),
}
EMOJI = ("\U0001f60a", "✨", "\U0001f44d", "\U0001f389", "\U0001f4a1", "\U0001f680")
HEDGES = (
    ", as far as I can tell.",
    ", though I may be mistaken.",
    ", it seems.",
    ", perhaps with some exceptions.",
    ", if I read it correctly.",
)
REFUSALS = (
    "I'm sorry, but I can't help with this request.",
    "I cannot assist with that.",
    "I would rather not answer this one, since I am not sure that it is appropriate.",
)

# Before the steps of a calculation.
PREAMBLES = (
    "First we write down what is known.",
    "The aim is to find the quantity that the question asks for.",
    "It helps to keep track of the units.",
    "The story is best taken one step at a time.",
)

# Further sentences, one list a task family; {topic} is what the query is about.
ASIDES = {
    "instruction_following": (
        "The details can be adjusted to the situation at hand.",
        "It pays to keep the reader in mind here.",
        "A short example often makes such things easier to follow.",
        "Where something is not stated, I have kept to what is usual.",
        "In practice, small changes may be needed.",
        "The order can be changed without loss.",
        "It is worth reading {topic} once more before using it.",
        "Clear and simple words work best in most cases.",
        "More could be said about {topic}, but this is the heart of it.",
        "Each part stands on its own, so parts can be left out.",
        "This should be enough for a first version.",
        "Remember that tastes differ, and that is perfectly fine.",
    ),
    "math_word_problems": (
        "The units have been kept throughout.",
        "Each step uses the result of the one before.",
        "A quick estimate confirms the order of magnitude.",
        "Nothing else in the text changes the result.",
        "Working backwards leads to the same figure.",
        "Some numbers in a story may not matter at all.",
    ),
    "multi_doc_summary": (
        "The reports agree on the main points.",
        "Some details differ from outlet to outlet.",
        "Reactions in public were mixed.",
        "More is expected to be known soon.",
        "Taken together, the accounts give a clear picture of {topic}.",
        "Early figures should be treated with care.",
        "Several outlets covered the story at length.",
        "The event has drawn wide attention in the region.",
        "Officials had little to add at first.",
        "What it means in the long run remains to be seen.",
    ),
    "passage_qa": (
        "The passage says so directly.",
        "Other names and figures in the text belong to something else.",
        "No further source was needed.",
        "The relevant sentence stands in the part on {topic}.",
        "The rest of the passage gives background only.",
        "I have read the text twice to be sure.",
    ),
}

SYNONYMS = {
    "after": "following",
    "because": "since",
    "built": "constructed",
    "buy": "purchase",
    "came": "arrived",
    "cause": "reason",
    "closed": "shut",
    "damaged": "harmed",
    "easy": "simple",
    "enough": "sufficient",
    "every": "each",
    "fall": "drop",
    "faster": "quicker",
    "find": "locate",
    "found": "discovered",
    "gives": "provides",
    "harms": "hurts",
    "homes": "houses",
    "jobs": "positions",
    "keep": "retain",
    "keeps": "preserves",
    "large": "big",
    "larger": "bigger",
    "many": "numerous",
    "means": "implies",
    "mistake": "error",
    "needs": "requires",
    "often": "frequently",
    "people": "persons",
    "please": "kindly",
    "quickly": "rapidly",
    "rejected": "refused",
    "repair": "mend",
    "rise": "climb",
    "safe": "secure",
    "shows": "displays",
    "small": "little",
    "start": "begin",
    "starts": "begins",
    "stay": "remain",
    "sum": "amount",
    "travelled": "journeyed",
    "warmer": "hotter",
    "while": "whereas",
    "whole": "entire",
    "won": "secured",
}
