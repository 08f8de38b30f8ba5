"""What people say to Lamps that needs no tool, and what Lamps replies, in one table to be read in one go."""

from dataclasses import dataclass

from lamps_jax.embedded.questions.phrasing import Phrasings
from lamps_jax.embedded.questions.text_world_wordings import OBJECT_NOUNS


@dataclass(frozen=True, slots=True)
class Topic:
    """Ways to say one thing, and the reply.

    Attributes:
        answer: May hold the slots of the phrasings.
        weight: How often the topic comes up, relative to the others.
    """

    answer: str
    phrasings: Phrasings
    weight: float = 1.0

    @property
    def slots(self) -> frozenset[str]:
        """The slots that the phrasings hold."""
        return frozenset(slot for slot in ("name", "word", "words") if f"{{{slot}}}" in "".join(self.phrasings.train))


def _topic(answer: str, train: tuple[str, ...], held_out: tuple[str, ...], *, weight: float = 1.0) -> Topic:
    return Topic(answer, Phrasings(train=train, held_out=held_out), weight)


TOPICS = (
    _topic(
        "Hello! What can I do for you?",
        (
            "(Hello|Hi|Hey|Hiya|Howdy)(!|.|)",
            "(Hello|Hi|Hey) Lamps(!|.|)",
            "(Hello|Hi|Hey) (there|you|friend|again)(!|.|)",
            "Good (evening|afternoon|day)(!|.|)",
            "Good (evening|afternoon|day|morning), Lamps.",
            "Greetings(!|, Lamps.|.)",
            "(Are you there|Anybody there|Anyone home|Is anybody there)?",
            "(Nice|Good|Great) to (see|meet) you(!|.|)",
            "Welcome back, Lamps.",
        ),
        (
            "Hello hello, Lamps!",
            "Good to see you again.",
            "Hi to you, Lamps!",
            "Hey Lamps, are you there?",
            "Hello again, Lamps.",
        ),
        weight=2,
    ),
    _topic(
        "You're welcome!",
        (
            "(Thanks|Thank you|Thx|Cheers)(!|.|)",
            "(Thanks|Thank you) (so much|very much|a lot)(!|.|)",
            "(Thanks|Thank you), Lamps(!|.|)",
            "(Thanks|Thank you) for (your help|the help|everything|the answer)(!|.|)",
            "(Great|Perfect|Fine|Good), (thanks|thank you)(!|.|)",
            "That (helps|helped) (a lot|me|), (thanks|thank you).",
            "I (am grateful|am very grateful|appreciate it|appreciate your help).",
            "Many thanks(!|, Lamps.)",
        ),
        (
            "Thank you for all your help!",
            "Perfect, thanks so much!",
            "Thanks again, Lamps.",
            "I thank you for the answer.",
        ),
        weight=2,
    ),
    _topic(
        "Goodbye!",
        (
            "(Bye|Goodbye|Bye bye|Farewell|Ciao)(!|.|)",
            "(Bye|Goodbye|Farewell), (Lamps|friend)(!|.|)",
            "See you (later|soon|tomorrow|again|next time)(!|.|)",
            "I (have to|must|need to) (go|leave) (now|).",
            "I am (leaving|going) (now|home|to bed|).",
            "Good night(!|, Lamps.|.)",
            "(Have a|Enjoy your) (nice|good|great|) (day|evening|weekend)(!|.)",
            "(That's all|That is all|That was all) (for now|for today|).",
            "(Until|Till) (tomorrow|next time|later)(!|.)",
            "(Take care|So long)(!|, Lamps.|.)",
        ),
        ("Goodbye for now, Lamps!", "I have to go home now.", "See you later, Lamps!", "Bye, have a nice evening!"),
        weight=2,
    ),
    _topic(
        "I am Lamps, a tiny language model that calls tools.",
        (
            "(Who|What) are you?",
            "(Who|What) are you, (Lamps|anyway|really)?",
            "What is your name?",
            "What's your name?",
            "Do you have a name?",
            "(Tell me|Say) (who|what) you are.",
            "(Tell me|Say) (something|a little|more) about (you|yourself).",
            "(Can|Could|Would) you introduce yourself?",
            "(Please introduce|Introduce|Describe) yourself.",
            "(Who|What) am I (talking|speaking|chatting) (to|with)?",
            "What should I call you?",
            "What kind of (program|model|machine|thing) are you?",
            "Which model (are you|is this)?",
            "What is (this|Lamps)?",
            "Who is (this|Lamps)?",
        ),
        (
            "Who am I speaking to, please?",
            "What do I call you?",
            "Please tell me your name.",
            "What sort of model are you?",
            "Can you tell me who you are?",
        ),
        weight=2,
    ),
    _topic(
        "No, I am a small computer program.",
        (
            "Are you (a human|human|a person|a real person|alive|a man|a woman)?",
            "Are you (a robot|a computer|a machine|a bot) or (a human|a person)?",
            "Are you (really|truly|actually) (human|a person|alive)?",
            "Am I (talking|speaking) to a (human|person|real person)?",
            "Is (there|this) a (human|person|real person) (here|behind this|answering|)?",
            "Do you have (feelings|a body|a brain|a heart|friends|parents|a family)?",
            "Can you (feel|sleep|eat|dream|see me|hear me)?",
            "Do you (feel|sleep|eat|dream|breathe|live somewhere)?",
        ),
        (
            "Are you a living person?",
            "Is it a human that I am talking to?",
            "Do you have a family or friends?",
            "Are you human or a machine?",
        ),
        weight=1.5,
    ),
    _topic(
        "I am fine, thank you. What can I do for you?",
        (
            "How are you (today|doing|feeling|this morning|)?",
            "How are you (today|doing|), Lamps?",
            "How do you (do|feel) (today|)?",
            "How is (it going|everything|your day|life)?",
            "How's (it going|everything|your day|life)?",
            "How (have you been|was your day)?",
            "(Are you|Do you feel|Is everything) (well|fine|OK|all right) (today|)?",
            "What's up?",
            "I hope you are (well|fine|OK).",
        ),
        (
            "How are you this evening?",
            "How are things with you?",
            "Are you feeling well, Lamps?",
            "How has your day been?",
        ),
        weight=1.5,
    ),
    _topic(
        "Why did the lamp go to school? To get brighter.",
        (
            "Tell (me|us) a joke.",
            "Tell (me|us) (something|a) (funny|short joke|good joke).",
            "(Do|Would|Could) you (know|tell me) a (joke|good joke)?",
            "(Can|Could|Would|Will) you tell (me|us) a joke?",
            "(Make|Please make) me laugh.",
            "I (want|need|would like) (to hear a|a) joke.",
            "(Give me|Let me hear|Say) (a joke|something funny).",
            "(Joke|A joke), please.",
            "Have you got (a|any) (joke|jokes)?",
        ),
        (
            "I'd like to hear a joke.",
            "Could you say something funny?",
            "Do you have a joke for me?",
            "Please tell a joke.",
        ),
    ),
    _topic(
        "What do you call a sleeping calculator? A nap-culator.",
        (
            "Tell (me|us) (another|one more|a second) joke.",
            "(Another|One more) joke, please.",
            "(Do|Can) you (know|tell me) (another|one more) joke?",
            "(I want|Give me|Let me hear) (another|one more) joke.",
            "Have you got (another|one more) joke?",
        ),
        ("Please tell another joke.", "I would like one more joke.", "Do you have another joke for me?"),
        weight=0.6,
    ),
    _topic(
        "Why was the computer cold? It left its windows open.",
        (
            "Tell (me|us) a joke about (a computer|computers|a machine|machines|robots).",
            "(Do|Can) you (know|tell me) a joke about (computers|machines|robots)?",
            "(Give me|Let me hear|I want) a (computer|robot) joke.",
            "(A|One) (computer|robot) joke, please.",
        ),
        ("I would like a joke about computers.", "Please tell a computer joke.", "Have you got a joke about robots?"),
        weight=0.6,
    ),
    _topic(
        "Thank you, that is kind of you!",
        (
            "You are (great|smart|clever|amazing|very good|nice|funny|the best|wonderful|brilliant)(!|.|)",
            "You are (so|really|very) (helpful|smart|clever|nice|kind|good)(!|.|)",
            "(Well done|Good job|Great job|Nice work|Good work|Bravo)(!|, Lamps.|.)",
            "I (like|love|adore) you(!|, Lamps.|.|)",
            "I (like|love) (your answers|how you work|talking to you|this).",
            "What a (great|good|nice|clever) (answer|model|program|machine)!",
            "(That was|This is) (great|very good|amazing|brilliant|impressive)(!|.)",
            "You did (that|this|it) (very|really|) well.",
            "(Good|Clever|Smart) (bot|machine|model)(!|.)",
            "I am impressed(!|, Lamps.|.)",
        ),
        (
            "You are such a clever model!",
            "Great work, Lamps!",
            "I really like your answers.",
            "You did a very good job.",
        ),
        weight=1.5,
    ),
    _topic(
        "I am sorry. I will try to do better.",
        (
            "You are (stupid|dumb|bad|useless|slow|terrible|an idiot|wrong|awful|silly)(!|.|)",
            "You are (so|really|very|too) (stupid|dumb|bad|slow|boring)(!|.|)",
            "(That was|That is|This is) (wrong|bad|terrible|useless|nonsense|rubbish)(!|.)",
            "I (hate|don't like|dislike) you(!|, Lamps.|.|)",
            "I (hate|don't like|dislike) (this|your answers|this program).",
            "You (know|understand|can do) nothing(!|.)",
            "(Shut up|Go away|Be quiet)(!|, Lamps.|.)",
            "(Bad|Stupid|Dumb|Useless) (bot|machine|model)(!|.)",
            "What a (bad|stupid|terrible|useless) (answer|model|program|machine)!",
            "You (made|make) (a mistake|mistakes|no sense).",
            "I am (angry|disappointed|not happy with you).",
        ),
        (
            "You are a terrible program!",
            "Your answer was stupid.",
            "I don't like you at all.",
            "That was a bad answer, Lamps.",
        ),
        weight=1.5,
    ),
    _topic(
        "Hello, {name}!",
        (
            "Say (hello|hi|hey) to {name}.",
            "Please (say hello to|greet|say hi to|welcome) {name}.",
            "(Greet|Welcome) {name} (for me|please|).",
            "(Can|Could|Would) you (say hello to|greet|say hi to|welcome) {name}?",
            "(Can|Could) you say (hello|hi) to my (friend|sister|brother|teacher|dog|cat) {name}?",
            "Say (hello|hi) to my (friend|sister|brother|teacher|son|daughter|mother) {name}.",
            "This is {name}. Say (hello|hi)(!|.)",
            "{name} is here. Say (hello|hi)(!|.)",
            "Here (comes|is) {name}, (say hello|greet her|greet him).",
            "I want you to (greet|say hello to|welcome) {name}.",
            "How (do|would) you (greet|welcome|say hello to) {name}?",
            "{name} wants you to say (hello|hi).",
        ),
        (
            "Would you please greet {name}?",
            "Say hello to {name}, who is here.",
            "Please say a nice hello to {name}.",
            "My friend {name} is here, say hello.",
            "I'd like you to welcome {name}.",
        ),
        weight=3,
    ),
    _topic(
        "Nice to meet you, {name}!",
        (
            "My name is {name}.",
            "My name's {name}.",
            "(I am|I'm) {name}.",
            "(I am|I'm) called {name}.",
            "(Hello|Hi|Hey), (I am|I'm|my name is) {name}.",
            "(People|They|My friends|All) call me {name}.",
            "(You can|Please|Just) call me {name}.",
            "The name is {name}.",
            "(It is|It's|This is) {name} (speaking|talking to you).",
            "You are (talking|speaking) (to|with) {name}.",
            "Let me introduce myself: (I am|my name is|I'm) {name}.",
            "{name} is my name.",
            "I have the name {name}.",
        ),
        (
            "I go by the name {name}.",
            "You may call me {name}.",
            "Hello Lamps, my name is {name}.",
            "My friends call me {name}, you too.",
            "May I introduce myself? I am {name}.",
        ),
        weight=3,
    ),
    _topic(
        "{words}",
        (
            "Repeat after me: {words}",
            "(Repeat|Say|Echo|Copy|Write): {words}",
            "(Repeat|Say|Echo) this: {words}",
            "Please (repeat|say|echo|write): {words}",
            '(Repeat|Say|Echo|Copy|Write) "{words}".',
            'Please (repeat|say|echo|write) "{words}".',
            '(Say|Repeat) "{words}" (after me|back to me|for me|please).',
            '(Can|Could|Would) you (say|repeat|write) "{words}" (for me|please|)?',
            'I want you to (say|repeat|write) "{words}".',
            "(Repeat|Say|Copy) (these words|the words|the following|what I say): {words}",
            "(Repeat|Echo|Copy) my words: {words}",
            "Say (after me|back to me|it with me): {words}",
            'Answer with "{words}".',
            "(Answer|Reply) only: {words}",
            "(Answer|Reply) with these words: {words}",
        ),
        (
            'Would you please repeat "{words}"?',
            "Please say this after me: {words}",
            'I would like you to say "{words}".',
            "Repeat the following words: {words}",
            "Say these words back to me: {words}",
        ),
        weight=4,
    ),
    _topic(
        "I cannot taste or feel, so I have no favourites.",
        (
            "Do you (like|love|prefer|drink|enjoy) (tea|coffee|milk|juice|music|chocolate|cake|books|cats|dogs)?",
            "Do you (like|love|enjoy) (football|chess|films|summer|winter|rain|snow|flowers|pizza|bread|art|people)?",
            "What is your favourite (colour|food|animal|book|song|film|city|season|word|drink)?",
            "What's your favourite (colour|food|animal|book|song|film|city|season|day|drink)?",
            "Which (colour|food|animal|book|song|film|city|season|drink) do you (like|love|prefer) (best|most)?",
            "(Tea|Cats|Summer|Red) or (coffee|dogs|winter|blue), what do you (like|prefer)?",
            "What do you (like|love) (best|most|to eat|to drink|to do)?",
            "What do you think (of|about) (tea|music|cats|dogs|rain|books|snow|cake|winter|football)?",
            "Do you have a favourite (colour|food|animal|book|song|film|city|season|drink)?",
        ),
        (
            "Which food do you like the most?",
            "Do you like to drink tea?",
            "Tell me your favourite colour.",
            "Do you like cats or dogs?",
            "Have you a favourite song?",
        ),
        weight=2,
    ),
    _topic(
        "You need not be sorry.",
        (
            "(Sorry|I am sorry|I'm sorry|My apologies|Pardon me)(!|.|)",
            "(Sorry|I am sorry|I'm sorry) (about that|for that|for the trouble|, Lamps).",
            "(Please forgive me|I apologize|I did not mean that|My mistake)(!|.)",
        ),
        ("I am so sorry, Lamps.", "Sorry about the trouble.", "Please forgive my mistake."),
        weight=0.7,
    ),
    _topic(
        "All right.",
        (
            "(OK|Okay|Fine|Good|All right|Right|I see|Understood|Got it)(!|.|)",
            "(OK|Okay|Fine|Good), (Lamps|I see|got it|I understand)(!|.)",
            "(Never mind|Forget it|It does not matter|No problem|Nothing)(!|.|)",
            "(Just a moment|Wait a moment|One moment|Wait)(, please|!|.)",
        ),
        ("OK, I understand it.", "Never mind, Lamps.", "Fine, no problem."),
        weight=0.7,
    ),
    _topic(
        "I answer short questions, and call a tool where I need one.",
        (
            "What can you do (for me|)?",
            "What can you do for (me|us) (today|)?",
            "What (are you|is Lamps) (good|made|there|useful) for?",
            "What do you do (all day|here|)?",
            "What (can|may|should|could) I ask (you|) ?",
            "What (questions|things) can you answer?",
            "What (kind|kinds|sort) of questions can I ask?",
            "How (can|could|will) you help (me|us)?",
            "(Help|Help me|Help, please)(!|.|)",
            "(Can|Could|Will|Would) you help me?",
            "I need (help|your help|some help).",
            "(How do I|How can I|How to) use (you|this|Lamps)?",
            "How does this work?",
            "(Tell|Show) me what you can do.",
            "What are your (skills|abilities|talents)?",
            "What do you know?",
        ),
        (
            "Please tell me what you can do.",
            "What sort of help can you give me?",
            "I could use some help, please.",
            "What are you able to do for me?",
            "Which questions can I ask you?",
        ),
        weight=2.5,
    ),
    _topic(
        "My tools calculate, know the calendar, look things up and walk through a small house.",
        (
            "(Which|What) tools (do you have|have you|can you use|can you call|do you know|are there|do you use)?",
            "(List|Name|Show me|Tell me) (your tools|all your tools|the tools you have).",
            "What are your tools?",
            "Do you have (any|some|) tools?",
            "(Can|Do) you (use|call) (any|some|) tools?",
            "How many tools do you have?",
            "(Tell|Show) me (about your tools|which tools you have|what tools you have).",
            "With which tools do you work?",
        ),
        (
            "Could you list your tools?",
            "Tell me the names of your tools.",
            "What tools can I use with you?",
            "Please show me all your tools.",
        ),
        weight=1.5,
    ),
)

NAMES = tuple(
    """
    Anna Ben Clara David Emma Felix Greta Hugo Ida Jonas Karla Leo Maria Noah Olga Paul Rosa Simon Tina Victor Wanda
    Yara Zoe Alice Bob Carol Daniel Eva Frank Grace Henry Iris Jack Kate Liam Mona Nina Oscar Peter Quinn Rita Sam
    Tom Ursula Vera Will Adam Bella Chris Diana Erik Fiona George Hannah Ivan Julia Kevin Laura Martin Nora Oliver
    Petra Robert Sara Thomas Uma Vincent Willow Xavier Yusuf Zara Amir Bianca Carlos Dmitri Elena Fatima Gabriel
    Helga Ines Jamal Keiko Lars Mei Nadia Omar Priya Rahul Sofia Tariq Umar Valentina Wei Ximena Yuki Zlatan Agnes
    Boris Cecilia Dora Edgar Flora Gustav Heidi Igor Jana Klaus Linda Max Nicole Otto Paula Ralf Silke Theo Udo
    Viola Walter Agatha Barbara Caleb Doris Edith Fred Gloria Harold Isabel James Kyle Lucy Mark Nancy Owen Patricia
    Roger Susan Tim Vivian Wendy Aaron Beth Cindy Dean Ellen Floyd Gina Hank Irene Joan Kurt Lena Mila Nils Olive
    Pia Ruth Sven Tara Ulf Vito Wilma Andrea Bruno Carmen Diego Esther Fabio Giulia Hiro
    """.split()
)

WORDS = OBJECT_NOUNS + tuple(
    """
    dog horse cow sheep goat pig hen duck goose mouse rabbit fox wolf bear lion tiger zebra monkey snake frog fish
    shark whale bird eagle owl crow robin ant bee wasp fly spider worm snail tree flower grass bush forest river
    lake mountain valley hill island desert beach ocean sky sun moon star cloud wind storm thunder light fire smoke
    ice water earth sand mud gold happy sad angry tired hungry thirsty brave clever quiet loud quick slow warm cold
    early late green purple yellow orange house window roof wall floor table chair bed bath kitchen street road town
    city village church market station train bus ship plane bicycle bridge doctor teacher farmer baker sailor
    soldier queen king prince child mother father sister brother friend uncle cousin morning evening night summer
    winter spring autumn monday music story poem dance game school lesson question answer number letter language
    science history paper window elephant giraffe kangaroo butterfly umbrella kettle rope chisel shoe globe watch
    trumpet doll plum honey crown sword stone emerald cushion frame camera cable spanner trowel pepper mustard
    biscuit hello world yes maybe never always tomorrow yesterday together sunshine rainbow breakfast dinner
    """.split()
)
