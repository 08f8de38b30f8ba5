"""Wordings and vocabulary of requests to the text world. ``{place}`` is a room, or a container in a room."""

from lamps_jax.embedded.questions.phrasing import Phrasings

ROOM_PLACES = Phrasings(train=("the {room}",), held_out=("the {room}",))

CONTAINER_PLACES = Phrasings(
    train=(
        "the {container} in the {room}",
        "the {container} in the {room}",
        "the {container} of the {room}",
        "the {room}'s {container}",
        "the {container} that is in the {room}",
        "the {container} you see in the {room}",
    ),
    held_out=(
        "the {container} inside the {room}",
        "the {container} over in the {room}",
        "the {container} which is in the {room}",
    ),
)

FETCH = Phrasings(
    train=(
        "(Fetch|Get|Bring|Find) the {object} from {place}.",
        "(Fetch|Get|Bring) me the {object} from {place}.",
        "(Fetch|Get) the {object} in {place}.",
        "Please (fetch|get|bring|take) the {object} from {place}.",
        "Please (fetch|get|bring) me the {object} (that is|) in {place}.",
        "(Can|Could|Would|Will) you (fetch|get|take) the {object} from {place}?",
        "(Can|Could|Would) you (please|) (bring|get|fetch) me the {object} from {place}?",
        "(Can|Could) you (pick up|grab) the {object} in {place} (for me|)?",
        "I need the {object} from {place}.",
        "I (need|want) the {object} (that is|) in {place}. (Get|Fetch|Bring) it, please.",
        "I would like (to have|) the {object} from {place}.",
        "I'd like you to (get|take|find) the {object} in {place}.",
        "I want you to (fetch|get|bring) the {object} from {place}.",
        "I forgot the {object} in {place}. (Can|Could) you get it?",
        "I (left|lost) (my|the) {object} in {place}. (Fetch|Find|Get) it (please|for me|).",
        "My {object} is (somewhere|) in {place}. (Please get it|Get it for me|Could you fetch it?)",
        "The {object} is in {place}. (Take|Get|Fetch) it (for me|please|).",
        "The {object} should be (somewhere|) in {place}. (Bring|Get|Fetch) it to me.",
        "There (is|should be|must be) {an_object} in {place}. (Take it|Get it|Bring it to me).",
        "Go to {place} and (take|get|fetch|find) the {object}.",
        "Go to {place} and (bring|get|fetch) me the {object}, please.",
        "(Look|Search) in {place} for the {object} and (take|bring) it.",
        "Search {place} for the {object} and (take|bring|get) it.",
        "Search {place} until you (find|have) the {object}.",
        "(Look|Have a look) for the {object} in {place} and take it (with you|).",
        "(Find|Locate) the {object} in {place} and (take it|bring it|pick it up).",
        "Find (me|) my {object} in {place}.",
        "Take the {object} (out of|from) {place}.",
        "(Pick up|Grab|Collect) the {object} (from|in) {place}.",
        "(Grab|Collect) me the {object} from {place}, (would|could|will) you?",
        "In {place} (there|) is {an_object}. (Fetch|Get|Take) it.",
        "In {place} you (can|will) find {an_object}. (Please take it|Bring it here|Get it).",
        "From {place}, (take|get|fetch) the {object}.",
        "From {place} (I need|I want|bring me) the {object}.",
        "Someone (left|put|hid) the {object} in {place}. (Get|Find|Bring) it.",
        "We need the {object} from {place} (now|today|soon|).",
        "Try to (get|find|take) the {object} in {place}.",
        "Your (task|job): (get|take|fetch) the {object} from {place}.",
        "(Mission|Task): find the {object} in {place} and take it.",
        "Go (get|fetch|find) the {object} from {place}.",
        "Go and (get|fetch|find) (me|) the {object} in {place}.",
        "(Walk|Run) to {place} and (get|take|grab) the {object}.",
        "Would you mind (getting|fetching|taking) the {object} from {place}?",
        "Do you think you (can|could) get the {object} from {place}?",
        "May I have the {object} from {place}?",
        "(Can|Could) I have the {object} (that is|) in {place} (please|)?",
        "(Get|Bring|Take) that {object} from {place}.",
        "(Get|Bring|Find) {an_object} from {place}.",
        "I am (looking|searching) for the {object} in {place}. (Find|Get) it for me.",
        "(Give|Hand) me the {object} from {place}.",
        "(Please look|Look) in {place} and (bring|get|fetch) me the {object}.",
        "(Can|Could) you go to {place} and (get|find|take) the {object}?",
        "(Make sure|See to it) that (I|we) get the {object} from {place}.",
        "Let me get the {object} from {place}, please.",
        "I could do with the {object} (from|in) {place}.",
        "You (can|must|may) (get|fetch|take) the {object} from {place}.",
        "(Maybe|Perhaps) the {object} is in {place}; (get|fetch|find) it (please|for me).",
        "Get me my {object} back from {place}.",
    ),
    held_out=(
        "I could use the {object} from {place}. Please bring it.",
        "Would you go and get the {object} from {place} for me?",
        "Somewhere in {place} is {an_object}. Please find it and take it.",
        "Be so kind and fetch the {object} from {place}.",
        "Could you look in {place} and bring me the {object}?",
        "Please go to {place} and pick up the {object}.",
        "You should take the {object} from {place} now.",
        "Get hold of the {object} in {place}.",
        "I want my {object} back from {place}.",
        "See if you can get me the {object} from {place}.",
        "Please search {place} and take the {object} you find there.",
        "Can you find and take the {object} in {place}?",
        "Let me have the {object} from {place}.",
        "I think the {object} is in {place}; bring it to me.",
    ),
)

FETCH_FROM_CONTAINER = Phrasings(
    train=(
        "Go to the {room}, open the {container} and (take|get) the {object}.",
        "Open the {container} in the {room} and (take|get|bring me) the {object}.",
        "In the {room}, open the {container} and (take|fetch) the {object}.",
        "In the {room} (there|) is a {container} with {an_object} (in it|). (Take|Get) the {object}.",
        "Go to the {room} and (take|get|fetch) the {object} (out of|from) the {container}.",
        "The {object} is in the {room}, in the {container}. (Get|Bring|Fetch) it.",
    ),
    held_out=(
        "Please go to the {room}, look in the {container} and bring the {object}.",
        "I need the {object}. It is in the {room}, inside the {container}.",
    ),
)

IS_IN = Phrasings(
    train=(
        "Is the {object} in {place}?",
        "Is there {an_object} in {place}?",
        "Is (my|that|any) {object} in {place}?",
        "Is the {object} (somewhere|still|now) in {place}?",
        "(Can|Could) you (see|check|tell me) if the {object} is in {place}?",
        "(Can|Could) you (find|see) {an_object} in {place}?",
        "(Check|See|Tell me) (whether|if) the {object} is in {place}.",
        "(Check|See|Find out) (whether|if) there is {an_object} in {place}.",
        "Please (check|see|tell me) (whether|if) {place} has {an_object}.",
        "Do you (see|find) {an_object} in {place}?",
        "Do you (see|find) the {object} (anywhere|) in {place}?",
        "Does {place} (have|hold|contain) {an_object}?",
        "Does {place} (have|hold|contain) the {object}?",
        "Did (I|we|you|someone) (leave|put|hide) the {object} in {place}?",
        "Did (I|she|he) forget the {object} in {place}?",
        "(Have|Did) you (seen|see) the {object} in {place}?",
        "Could the {object} be in {place}?",
        "(Can|May) {an_object} be in {place}?",
        "Is it true that the {object} is in {place}?",
        "Is it (right|true) that there is {an_object} in {place}?",
        "I (believe|think|hope) the {object} is in {place}. Is (it|that right|that true)?",
        "I (wonder|want to know|need to know) (if|whether) the {object} is in {place}.",
        "I (wonder|want to know|am asking) (if|whether) there is {an_object} in {place}.",
        "I am (looking|searching) for {an_object}. Is (it|one) in {place}?",
        "I (lost|cannot find|can't find) (my|the) {object}. Is it in {place}?",
        "I (left|put) (my|the) {object} in {place}, (didn't I|is it there|is it still there)?",
        "Look in {place}: is (the|my) {object} there?",
        "Look in {place}. Is there {an_object}?",
        "Look (around|) in {place} and (tell me|say) if the {object} is there.",
        "Search {place}: is there {an_object}?",
        "Search {place} and (tell me|say) (if|whether) the {object} is there.",
        "Go to {place} and (check|see|tell me) if the {object} is there.",
        "Go to {place} and (check|see|tell me) if there is {an_object}.",
        "Yes or no: is the {object} in {place}?",
        "Yes or no, is there {an_object} in {place}?",
        "Would I find {an_object} in {place}?",
        "(Will|Can) (I|we|you) find the {object} in {place}?",
        "The {object}, is it in {place}?",
        "The {object} is in {place}, (right|isn't it|true|yes)?",
        "There is {an_object} in {place}, (right|isn't there|true|yes)?",
        "Where is the {object}, is it in {place}?",
        "(Someone|She|He) says the {object} is in {place}. (Is that so|Is it|True)?",
        "(Someone|She|He) says there is {an_object} in {place}. (Is that right|Is there)?",
        "What about {place}, is the {object} there?",
        "In {place}, is there {an_object}?",
        "In {place}, do you see (the|my) {object}?",
        "(Does|Do) (anyone|you) keep {an_object} in {place}?",
        "Was the {object} (left|put|seen) in {place}?",
        "(Have|Take) a look in {place} and (tell me|see) if the {object} is there.",
        "(Have|Take) a look in {place}. Is there {an_object}?",
        "Say (yes or no|whether it is true): the {object} is in {place}.",
        "Tell me, (is the {object}|do you see the {object}) in {place}?",
        "(Please look|Could you look) (whether|if) the {object} is in {place}?",
        "I am (asking|wondering) if there might be {an_object} in {place}.",
        "Do (I|you|they) have {an_object} in {place}?",
        "Answer yes or no. Is the {object} in {place}?",
    ),
    held_out=(
        "Would you check if there is {an_object} in {place}?",
        "Please find out whether the {object} is in {place}.",
        "Is the {object} to be found in {place}?",
        "Have a look in {place}. Do you find {an_object} there?",
        "I am not sure if the {object} is in {place}. Is it?",
        "Can the {object} be found in {place}?",
        "Tell me, is there really {an_object} in {place}?",
        "Do we have {an_object} in {place}?",
        "Could it be that the {object} is in {place}?",
        "Say yes if the {object} is in {place} and no if it is not.",
        "Can you look whether there is {an_object} in {place}?",
        "Please look in {place} and see if the {object} is there.",
        "Does anyone see {an_object} in {place}?",
    ),
)

LOOK = Phrasings(
    train=(
        "What is in {place}?",
        "What's in {place}?",
        "What (is|can be) (there|found) in {place}?",
        "What (things|objects|items) are (there|) in {place}?",
        "What do you (see|find|have) in {place}?",
        "What can (I|you|we|one) (see|find) in {place}?",
        "What does {place} (hold|contain|have in it)?",
        "What (is|lies) inside {place}?",
        "What (would|will) I find in {place}?",
        "What did (you|they|she|he) put in {place}?",
        "What's there in {place}?",
        "(Tell|Show) me what is in {place}.",
        "(Tell|Show) me what you (see|find) in {place}.",
        "(Tell|Show) me the (things|contents) (in|of) {place}.",
        "(Can|Could) you (tell|show) me what is in {place}?",
        "(Can|Could|Would) you look in {place} (for me|please|)?",
        "(Can|Could) you (say|check|find out) what is in {place}?",
        "Look in {place}.",
        "Look (inside|into|around in) {place}.",
        "Look in {place} and tell me what (is there|you see).",
        "Please look in {place}. What (is there|do you see)?",
        "(Have|Take) a look in {place}.",
        "(Have|Take) a look (inside|into) {place} and tell me what you see.",
        "Go to {place} and (look around|tell me what is there).",
        "Go to {place}. What (is there|do you see|can you find)?",
        "(Check|See|Find out) what is in {place}.",
        "(Describe|List) what is in {place}.",
        "(Describe|List) the (things|contents) (in|of) {place}.",
        "List everything in {place}.",
        "Name the things in {place}.",
        "(Describe|Show) (me|) {place}.",
        "I (want|need|would like) to know what is in {place}.",
        "I (wonder|am asking myself) what is in {place}.",
        "Is (there anything|anything|something) in {place}?",
        "Is there (something|anything) (to see|to find) in {place}?",
        "Is {place} empty?",
        "Do you see (anything|something) in {place}?",
        "Which (things|objects|items) are in {place}?",
        "Which (things|objects) do you (see|find) in {place}?",
        "Which (things|objects) does {place} (hold|contain|have)?",
        "In {place}, what (is there|do you see|do you find)?",
        "(Inspect|Examine|Check) {place} (please|for me|).",
        "(Inspect|Examine|Search) {place} and tell me what you find.",
        "Give me (a list of|) (the things|what is) in {place}.",
        "Let me (see|hear) what is in {place}.",
        "Please (tell|show) me what you (see|find) in {place}.",
        "I would like to (see|hear) what is in {place}.",
    ),
    held_out=(
        "Please tell me what there is in {place}.",
        "What are the contents of {place}?",
        "Would you look in {place} and say what you see?",
        "What things do we have in {place}?",
        "Let me know what is in {place}.",
        "I would like a list of the things in {place}.",
        "Have you any idea what is in {place}? Look, please.",
        "See what there is in {place}.",
        "So what can be seen in {place}?",
        "Please describe what you find in {place}.",
        "What all is in {place}?",
    ),
)

OBJECT_NOUNS = tuple(
    """
    lamp spoon fork knife cup plate bowl pot pan jug bottle candle lantern hammer saw screw drill wrench shovel rake
    hoe bucket broom brush mop towel soap comb mirror razor pillow blanket quilt sheet hat coat glove scarf boot
    ring key nail necklace bracelet brooch coin stamp letter envelope pen pencil ruler compass map book diary atlas
    novel clock bell whistle drum flute violin guitar kite ball marble puzzle die card apple pear lemon onion carrot
    potato egg loaf cheese flask basket bag sack purse wallet cane dagger shield helmet bow arrow feather shell
    pebble crystal ruby pearl button needle thimble thread ribbon curtain rug vase statue painting photo magnet
    battery torch lens telescope radio phone plug bulb tyre pump wheel chain lock hook ladder bolt nut seed hose
    sieve whisk grater mug teapot saucer tray napkin tin tape cake rocket robot teddy puppet mask wig badge medal
    trophy flag banner poster ticket passport folder stapler eraser crayon chalk easel palette canvas sponge pipe
    wire fuse switch lever gear spring clamp vice axe pick shears bench stool pouch satchel sandal slipper sock
    shirt jacket vest tie skirt apron cap bonnet veil fan parasol locket amulet charm scroll wand potion orb goblet
    chalice tankard anchor oar sail paddle net rod skate ski sled bat racket dart pawn knight harp banjo cello horn
    tuba gong fiddle peach grape melon cherry banana mango fig date pea bean turnip radish leek pumpkin bun pie tart
    muffin pretzel sausage ham pickle walnut almond acorn leaf twig log brick tile plank
    """.split()
)

OBJECT_ADJECTIVES = tuple(
    """
    brass silver iron copper wooden golden glass old small red blue green white black yellow paper leather clay tin
    woollen linen silk cotton bronze ivory oak pine plastic rusty broken tall round long torn dusty blunt sharp
    heavy empty cracked oil straw garden kitchen school toy picture song story rain hand tea soup bread pocket door
    house sea grey brown pink purple orange striped tiny large new shiny dull folded bent lucky magic secret spare
    steel stone wax bone
    """.split()
)

ROOMS = tuple(
    name.strip()
    for name in """
    hall, kitchen, cellar, attic, library, study, bedroom, bathroom, garden, workshop, garage, pantry, office,
    parlour, lounge, nursery, laundry, studio, gallery, chapel, crypt, tower, dungeon, stable, barn, loft, porch,
    balcony, terrace, courtyard, greenhouse, kennel, vault, armoury, ballroom, dining room, living room, guest room,
    music room, games room, red room, blue room, green room, boiler room, store room, tea room, wine cellar,
    basement, corridor, lobby, closet, cabin, hut, cave, cottage, mill, bakery, shop, school, museum, theatre,
    hospital, forge, observatory, laboratory, infirmary, classroom, gym, sauna, engine room, bridge, galley, hangar,
    throne room, larder, scullery, den, shelter
    """.split(",")
)

CONTAINERS = tuple(
    name.strip()
    for name in """
    wardrobe, drawer, cupboard, fridge, chest, barrel, trunk, crate, cabinet, bookcase, desk, safe, dresser, jewel
    box, hamper, shed, basket, toolbox, locker, car, bin, jar, sack, box, bag, case, suitcase, urn, vat, tub,
    casket, coffer, sideboard, bureau, oven, stove, freezer, dishwasher, washer, carton, parcel, tin box, oak chest,
    iron chest, red box, blue box, green box, black box, small box, big box, wooden box, glass case, music case, hat
    box, lunch box, letter box, cash box, sea chest, tea chest, linen chest, cage, coffin, pram, cart, van, boat,
    tent, hut, piano, clock case, mailbox, backpack, rucksack, tool chest, first aid kit, flower pot, pouch, bread
    bin, rubbish bin, cookie jar, glove box
    """.split(",")
)
