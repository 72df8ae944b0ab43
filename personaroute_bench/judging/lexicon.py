"""The English words and phrases that style is read from, one list a kind of marker.

Lists hold whole words or phrases in lower case with straight apostrophes, separated by commas or
line ends. They are short on purpose: a marker earns its place by hardly ever meaning anything
else. Changing any of them changes ratings, so `style.STYLE_VERSION` then takes a new name.
"""

from __future__ import annotations


def _entries(text: str) -> tuple[str, ...]:
    """Split a list at commas and line ends; sorted and without repeats."""
    parts = (part.strip() for part in text.replace("\n", ",").split(","))
    return tuple(sorted({part for part in parts if part}))


# Why something is so, or what follows from it: explanation rather than statement.
REASON = _entries("""
    because, since, therefore, thus, hence, consequently, accordingly, due to, owing to
    so that, as a result, which means, this means, that means, in order to, the reason
    reasons, that is why, this is why, leads to, led to, caused by, results in, it follows
    implies, given that, although, whereas, despite, on the other hand, in contrast
    background, historically, in other words, that is to say, note that, underlying
    in particular, specifically
""")

# A way told one stage after the other.
SEQUENCE = _entries("""
    first, second, third, fourth, fifth, firstly, secondly, thirdly, next, then, finally
    lastly, after that, afterwards, step, once you, begin by, start by, to begin with
    followed by, subsequently, in turn, the next, last of all, now we, we get, we have
    we need to find
""")

FORMAL = _entries("""
    therefore, furthermore, moreover, thus, hence, consequently, nevertheless, nonetheless
    additionally, accordingly, regarding, concerning, pertaining, respectively, whereby
    wherein, thereby, thereof, upon, shall, whilst, notwithstanding, with respect to
    in accordance with, with regard to, in addition, namely, albeit, henceforth
    aforementioned, primarily, comprises, constitutes, demonstrates, facilitates, utilizes
    utilises, in conclusion, it is important
""")

# Other contractions (n't, 're, 'll …) are found by their ending, in style_features; 's is not,
# since it mostly marks possession.
CASUAL = _entries("""
    yeah, yep, yup, nope, hey, hi, ok, okay, gonna, wanna, gotta, kinda, sorta, dunno, cuz
    guys, folks, it's, that's, what's, there's, here's, let's, cool, awesome, pretty much
    a bit, a lot, a ton, lots of, tons of, oh, wow, hmm, btw, lol, totally, basically
    anyway, you know, i guess, by the way, dude, buddy, cheers, no worries, go for it
    sure thing, check out, figure out, mess up, stuff
""")

PERSONAL = _entries("i, me, my, we, us, our, you, your, yours, let's, i'm, i'd, i'll, you're")

READER = _entries("""
    you, your, yours, yourself, you're, you'll, you'd, you've, let's, we, our, us, together
""")

KIND = _entries("""
    glad, happy to, delighted, pleased to, great question, good question, well done
    good luck, best of luck, don't worry, no worries, you can do, you've got this
    feel free, welcome, thank, thanks, please, i hope, hope this, enjoy, congratulations
    congrats, proud, lovely, wonderful, sorry, i understand, i'm here, let me know
    don't hesitate, keep going, great job, great start, great way, heartfelt, warmly
    gently, grateful, appreciate, encouraging, supportive, excited, amazing, fantastic
    take care, take your time, be patient with yourself, it's okay, that's okay
""")

PLAYFUL = _entries("""
    joke, jokes, joking, kidding, pun, puns, no pun intended, punchline, funny, hilarious
    humor, humour, humorous, laugh, laughs, laughing, laughter, giggle, chuckle, haha
    hahaha, hehe, lol, silly, goofy, quirky, whimsical, playful, mischievous, witty, wacky
    wow, oops, whoops, whoa, yay, hooray, woohoo, ta-da, voila, aha, ahoy, matey, arr, yum
    yikes, shenanigans, spoiler alert, plot twist, knock knock, walks into a bar
    tongue in cheek, voilà, nailed it
""")

# Uncertainty and evasion.
HEDGE = _entries("""
    may, might, could, perhaps, possibly, maybe, probably, likely, unlikely, generally
    typically, usually, often, sometimes, somewhat, relatively, seems, seem, seemed
    appears, appear, suggests, presumably, apparently, arguably, roughly, approximately
    i think, i believe, i guess, in general, depends on, it is possible, it's possible
    not necessarily, to some extent, in some cases, unclear, uncertain, not sure
    as far as i know, keep in mind, it's worth noting, it is worth noting
    it's important to note, please note, however, unfortunately, i apologize, i'm sorry
    as an ai, i cannot, i can't, i don't have, varies
""")

# Courtesies that stand before the answer; looked for in the first words only.
PREAMBLE = _entries("""
    sure, of course, certainly, absolutely, great question, good question, happy to
    glad to, i'd be, i can help, i'll help, here is, here are, here's, the following
    below is, below are, let's, let me, i will, i'll, we will, to answer, to find
    to determine, to solve, to calculate, as an ai, thank you, thanks for, hello, hi, hey
    i understand, in order to, we need to, based on, it is important
""")

# Where a text comes to its answer.
VERDICT = _entries("""
    the answer is, answer is, final answer, in conclusion, to conclude, in summary
    to summarize, to summarise, the correct answer, therefore the, so the, thus the
    hence the, overall
""")

EXAMPLE = _entries("""
    for instance, such as, e g, example, examples, imagine, think of, picture, suppose
    say you, let's say, is like, are like, like a, like an, like the, just like, as if
    as though, analogy, analogous, metaphor, consider a, consider an, compared to
    in comparison, akin to, resembles, reminiscent, including, includes, case study
    illustrate, illustrates, in the same way, much like, comparable to
""")

# Frequent words that say nothing on what a text is about.
STOP_WORDS = frozenset(
    _entries("""
    a, an, the, and, or, but, nor, so, if, then, than, that, this, these, those, there
    here, it, its, it's, he, him, his, she, her, hers, they, them, their, theirs, i, me, my
    mine, we, us, our, ours, you, your, yours, who, whom, whose, which, what, when, where
    why, how, is, am, are, was, were, be, been, being, do, does, did, doing, done, have
    has, had, having, will, would, shall, should, can, could, may, might, must, to, of, in
    on, at, by, for, with, from, into, onto, as, about, over, under, between, through
    during, before, after, above, below, up, down, out, off, again, once, only, own, same
    such, too, very, just, also, not, no, all, any, both, each, few, more, most, other
    some, one, s, t, ll, d, m, re, ve, don, e, g, because, while, until, against
    """)
)
