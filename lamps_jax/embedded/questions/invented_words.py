"""Word lists from which names, titles and facts of invented articles are put together, and words that need not exist."""

import random

FIRST_NAMES = (
    "Ada Albert Alice Amina Anders Andrea Anna Anton Arthur Astrid Bela Bernard Boris Carl Carlos Carmen Cecilia "
    "Charles Clara Daniel David Diego Edith Edward Elena Elias Ella Emil Emma Erik Ernest Eva Felix Florence "
    "Francis Frank Fritz George Gerard Grace Greta Gustav Hana Harold Harriet Heinrich Helen Henry Hugo Ibrahim "
    "Ida Igor Ines Ingrid Isaac Isabel Ivan Jack Jacob James Jan Jane Joan Johann John Jorge Joseph Julia Karin "
    "Karl Kenji Lars Laura Leo Leon Lily Louis Lucia Luis Lydia Magnus Marco Margaret Maria Mark Martha Martin "
    "Mary Max Mei Michael Mina Nadia Nils Nina Nora Olga Oliver Omar Oscar Otto Paul Peter Philip Pierre Rachel "
    "Ralph Raoul Richard Robert Rosa Ruth Samuel Sara Simon Sofia Stefan Susan Sven Thomas Tom Ulrich Vera "
    "Victor Walter Wilhelm William Yuki Zoe"
).split()
LAST_NAMES = (
    "Adams Andersen Baker Bauer Bell Berg Black Brown Carter Clark Cole Costa Cruz Dahl Dubois Evans Fischer Fox "
    "Garcia Gray Green Hall Hansen Harris Hill Hoffman Ito Jensen Johnson Jones Keller King Klein Kovacs Kruger "
    "Lang Lee Lewis Lind Lopez Martin Meyer Miller Moore Moreau Morris Novak Olsen Parker Petrov Reed Rossi "
    "Russo Sato Schmidt Scott Shaw Silva Stone Tanaka Taylor Turner Walker Weber White Wood Young"
).split()
ADJECTIVES = (
    "Amber Ancient Bitter Black Blind Blue Brave Broken Burning Clear Cold Crimson Dark Distant Empty Endless "
    "Fallen Final First Forgotten Frozen Gentle Glass Golden Good Great Green Grey Hidden Hollow Holy Invisible "
    "Iron Last Little Lonely Long Lost Lucky Mad New Old Open Pale Perfect Quiet Red Restless Royal Sacred "
    "Second Secret Seventh Silent Silver Sleeping Small Stolen Strange Sweet Third Wild White Yellow"
).split()
NOUNS = (
    "Angel Apple Arrow Autumn Ball Bell Bird Boat Book Bridge Castle Cat Child City Cloud Clock Crown Dance "
    "Daughter Day Death Dog Door Dream Dust Earth Evening Eye Face Father Field Fire Fish Flower Forest Fox "
    "Friend Game Garden Gate Ghost Girl Hand Harbour Heart Hill Hope Horse Hour House Hunter Island Journey "
    "Judge Key King Kitchen Lake Lamp Land Letter Light Lion Machine Man Map Memory Mirror Moon Morning Mother "
    "Mountain Music Name Night Ocean Orchard Painter Palace Peace Queen Rain River Road Room Rose Sailor Sand "
    "Sea Shadow Ship Sister Sky Smile Snow Soldier Song Spring Star Stone Storm Story Street Summer Sun Sword "
    "Tale Thief Tower Train Tree Valley Voice Wall War Watch Water Wave Way Wedding Wife Wind Window Winter "
    "Witch Wolf Woman Wood World Year"
).split()
CITIES = (
    "Amsterdam Athens Barcelona Basel Bergen Berlin Bombay Boston Bristol Cairo Chicago Cologne Copenhagen "
    "Cracow Delhi Dresden Dublin Florence Geneva Genoa Glasgow Hamburg Havana Helsinki Istanbul Kyoto Leeds "
    "Leipzig Lima Lisbon London Lyon Madrid Manchester Milan Montreal Moscow Munich Naples Nairobi Osaka Oslo "
    "Oxford Paris Porto Prague Riga Rome Seville Stockholm Sydney Tokyo Turin Utrecht Venice Vienna Warsaw "
    "Zurich"
).split()
OCCUPATIONS = (
    "physicist,chemist,painter,composer,novelist,poet,writer,playwright,sculptor,architect,engineer,inventor,"
    "astronomer,mathematician,biologist,botanist,naturalist,philosopher,historian,explorer,singer,actor,actress,"
    "musician,pianist,violinist,film director,doctor,nurse,surgeon,statesman,lawyer,judge,teacher,journalist,"
    "photographer,dancer,boxer,footballer,chess player,racing driver,fashion designer,entrepreneur,economist,"
    "geologist,astronaut,cosmonaut,sailor,activist,translator,printer,watchmaker,gardener,conductor"
).split(",")
CURRENCIES = ("euro dollar krone krona franc peso dinar pound rupee shilling lira mark crown rial real ducat florin").split()
CONTINENTS = "Europe,Asia,Africa,North America,South America,Oceania".split(",")
PLANETS = "Mars Jupiter Saturn Uranus Neptune".split()
BUILDINGS = (
    "Tower,Bridge,Opera House,Cathedral,Building,Museum,Palace,Monument,Fountain,Gate,Library,Hall,Arch,Stadium,"
    "Theatre,Castle,Centre,Memorial,Lighthouse,Temple,Pyramid,Station"
).split(",")
DEVICES = (
    "engine lamp clock wheel pump loom press pen camera telescope microscope drill valve compass gun lock pin "
    "balloon saw oven motor battery mirror bell jar printer plough flask burner bridge boat razor chain pendulum "
    "counter chamber"
).split()
DEVICE_ADJECTIVES = (
    "steam electric folding double pocket spring water wind safety rotary air gas magnetic flying hand glass"
).split()
FILLERS = (
    "just really maybe perhaps actually now then quickly kindly possibly simply honestly surely certainly truly soon "
    "today tonight still only even also again once twice first finally later anyway indeed exactly roughly about "
    "friend buddy folks everyone someone somebody people dear lovely nice fine great small little big old new "
    "guess suppose believe imagine consider mention notice remember forget hope wish hear listen watch wait hold "
    "concerning regarding besides moreover however therefore whereas while because although unless though "
    "my your our their some any such own very quite rather almost nearly totally fully"
).split()
"""Words that change nothing in most questions."""


def invented_word(rng: random.Random) -> str:
    """A pronounceable word of 3 to 9 letters that need not exist."""
    syllables = (
        rng.choice("b c d f g h j k l m n p r s t v w z bl br ch cl dr fl gr pl sh sn st th tr".split())
        + rng.choice("aeiou")
        + rng.choice(("", "", "b", "g", "k", "l", "m", "n", "p", "r", "sk", "t", "x"))
        for _ in range(rng.choice((1, 2, 2, 3)))
    )
    word = "".join(syllables)[:9]
    return word if len(word) >= 3 else word + "n"
