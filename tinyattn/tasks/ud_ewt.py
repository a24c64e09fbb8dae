"""ud-ewt: the English Web Treebank of Universal Dependencies (Silveira et al. 2014, "A gold standard dependency corpus
for English"), as https://github.com/UniversalDependencies/UD_English-EWT publishes it: weblogs, news groups, e-mail,
reviews and answers, 12,544, 2,001 and 2,077 sentences (--data DIR).

Who says each word's most frequent tag is right in 86.2 % of the test's words.
"""

from typing import ClassVar

from tinyattn.tasks.conllu import Conllu


class UDEWT(Conllu):
    """The task; see Conllu."""

    name: ClassVar[str] = "ud-ewt"
    title = "parts of speech of the English Web Treebank (--data DIR)"
