"""Wordings and vocabulary of questions for the Calculator, by the expression that the call gets."""

from lamps_jax.embedded.questions.phrasing import Phrasings

EXPRESSIONS = Phrasings(
    train=(
        "(What is|What's|Whats) {expression}?",
        "What (does|would|will) {expression} (equal|make|give|give you|come to|work out to|add up to)?",
        "What do (you|I|we) get (for|from|with) {expression}?",
        "What do (you|I|we) get (when|if) (you|I|we) (compute|calculate|work out|evaluate|do) {expression}?",
        "What is the (value|result|answer) (of|to|for) {expression}?",
        "What's the (value|result|answer|outcome) of {expression}?",
        "What (number|value|result) is {expression}?",
        "(How much|How many) is {expression}?",
        "How much (does|would) {expression} (make|come to|amount to|give)?",
        "(Calculate|Compute|Evaluate|Solve|Work out|Find|Determine) {expression}.",
        "(Please|Can you please|Could you please|Kindly) (calculate|compute|evaluate|solve|work out) {expression}.",
        "(Can|Could|Would|Will) you (calculate|compute|evaluate|solve|work out|do|figure out) {expression} (for me|)?",
        "(Can|Could) you tell me (what {expression} is|the value of {expression}|the answer to {expression})?",
        "(Can|Could) you (help|assist) me (with|calculate|compute|solve) {expression}?",
        "{expression}",
        "{expression}?",
        "{expression} =",
        "{expression} = ?",
        "{expression}=?",
        "{expression} is (what|how much)?",
        "{expression} (equals|makes|gives|comes to) (what|how much|what number)?",
        "{expression}, what (is it|is that|does it make|does that give)?",
        "{expression}, how much is (it|that)?",
        "Tell me (what {expression} is|the value of {expression}|the result of {expression}|how much {expression} is).",
        "Give me (the value of|the result of|the answer to|the answer for|) {expression}.",
        "Show me (the result of|the answer to|what you get for) {expression}.",
        "Do you know (what {expression} is|what {expression} gives|how much {expression} is)?",
        "I (need|want|would like|have) to (know|find out|work out|calculate|compute) {expression}.",
        "I (need|want|would like) to know (what {expression} is|how much {expression} is|the result of {expression}).",
        "I (need|want) (the answer to|the result of|the value of) {expression}.",
        "I (am|'m) (trying|struggling) to (calculate|compute|solve|work out) {expression}.",
        "I (can't|cannot) (work out|figure out|compute|do) {expression} (in my head|myself|).",
        "(Math|Maths|Calculation|Sum|Arithmetic) (question|problem|time|): {expression}",
        "(Math|Maths|Homework) (question|problem|), what is {expression}?",
        "(Do|Run) the (math|maths|calculation|sum) (for|on): {expression}",
        "(Calculator|Calculate|Compute|Solve|Answer|Result): {expression}",
        "Help me (with|solve|calculate|compute|work out) {expression}.",
        "Use (the|a|your) calculator (for|on|to work out|to compute) {expression}.",
        "Type {expression} into (the|a|your) calculator.",
        "My (homework|teacher|daughter|son|friend|boss) asks (what {expression} is|for {expression}).",
        "My (son|daughter|kid|friend|teacher) wants to know (what {expression} is|{expression}).",
        "For my (homework|budget|spreadsheet|exam|invoice) I need {expression}.",
        "If (I|you|we) (calculate|compute|work out|type) {expression}, what (comes out|is the result|do I get)?",
        "What comes out (of|when I compute|if I calculate) {expression}?",
        "Is there a number for {expression}?",
        "Check (this|my math|my homework) for me: {expression}",
        "How would you (solve|work out|calculate) {expression}?",
        "Let's (compute|calculate|work out|do|solve) {expression}.",
        "Quickly (compute|calculate|work out), what is {expression}?",
        "Any idea (what {expression} is|how much {expression} makes|what {expression} comes to)?",
        "Find (the value of|the result of|the answer to|out what is) {expression}.",
        "(Simplify|Reduce|Process) {expression}.",
        "Exactly how much is {expression}?",
        "I forgot (what {expression} is|how much {expression} is|my calculator, what is {expression}).",
        "The (problem|task|exercise|question) (is|says|reads) {expression}.",
        "{expression} (please|thanks|, quickly|, thank you)",
        "{expression} (in numbers|as a number|as a decimal)?",
        "{expression} - do you know (it|the answer|the result)?",
        "What (can|could|should|must|will) {expression} be?",
        "So (what|how much) (is|does) {expression} (make|give|come to|)?",
        "And what is {expression}?",
        "What (value|total|number) (has|does|comes from) {expression} (give|make|yield|)?",
        "What does {expression} (equal|come out at|turn into|yield|result in)?",
        "What is {expression} (equal to|in total|exactly)?",
        "(Could|Can|May) (I|we) (get|have|see) (the value of|the answer to|the answer for|what is) {expression}?",
        "Let (me|us) (hear|see|have) (the value of|the result of|what you get for|the answer for) {expression}.",
        "Let me (hear|see|know) what {expression} (makes|gives|is).",
        "Work out (for me|) what {expression} (is|gives|makes).",
        "Work out (the value of|the answer to|the result of) {expression}.",
        "I (wonder|was wondering|ask myself) (how much|what) {expression} (is|gives|comes to).",
        "I (was told|have been asked|am asked|am supposed|have been told) to (work out|solve|evaluate|find) {expression}.",
        "I (was|am) asked (for|what is) {expression}.",
        "Would you (know|be able to say|tell me|say) (what|how much) {expression} (is|makes|gives)?",
        "Do you happen to know (what|how much) {expression} (is|makes)?",
        "I'd (like|love) (to know|to find out|to hear|to see) what {expression} (is|gives|makes).",
        "I'd like (the answer to|the result of|the outcome of|to compute|to calculate) {expression}.",
        "(The value of|The result of|The sum|The result for) {expression} is (what|how much)?",
        "How much (do|will|would) (we|you) (get|have|end up with) (from|with|for) {expression}?",
        "(Can|Could) you (do|manage|handle|crack) this (one|calculation|problem): {expression}",
        "(Please|Kindly) (tell|show|give) me (what|how much) {expression} (is|makes|comes to).",
        "Please (give|tell|send) me (the value of|the result of|the answer to) {expression}.",
        "Which (value|result|total|number) (does|do you get for|has|comes from) {expression} (give|make|)?",
        "My (phone|computer|pocket calculator|battery) is (dead|broken|empty|off), (what|how much) is {expression}?",
        "(My|The) calculator (is broken|is gone|broke|does not work). (What is|How much is|Please do) {expression}(?|)",
        "Find (me|us) (the value of|the result of|the answer to) {expression}.",
        "(Need|Want|Wanted|Seeking|Looking for): {expression}",
        "(Need|Want) (the value of|the answer to|to know) {expression}.",
        "(Looking|I am looking|I look) for the (value|result|answer) (of|to) {expression}.",
        "(Try|Now try|Now do|Next is|Next comes|Here is one|Then) {expression}.",
        "(Here is|This is) (a sum|a calculation|one|a task) for you: {expression}",
        "(Give it a try|Solve this|Answer this|Compute this|Calculate this|Do this one): {expression}",
        "Does {expression} (make|give|equal) (a whole number|something nice|a lot|much)?",
        "(Hurry|Fast|Quick), {expression}!",
        "{expression} (would be|will be|might be|should be|must be) (what|how much)?",
        "{expression} (has|gives) (which|what) (value|result|answer)?",
        "{expression}, (tell me|I need that|what comes out|if you can|friend|solve it|answer|now).",
        "(Explain|Write down|State|Name|Report|Print|Output) (the value of|the result of|what is|) {expression}.",
        "(Someone|He|She|My wife|My husband|A child) asked me (what|how much) {expression} (is|makes).",
        "(Is it hard|Is it easy|How hard is it) to (work out|compute|solve) {expression}?",
        "The (sum|calculation|expression|formula) (here|to do|to solve|on the board) is {expression}.",
        "(Everyone|Nobody) (here|) knows what {expression} (is|makes). (You|Do you)?",
        "(Once more|Again|Another one|One last|Last one|The next one): {expression}",
    ),
    held_out=(
        "What might {expression} be?",
        "So what is {expression} equal to?",
        "What value does {expression} have?",
        "Could I get the result for {expression}?",
        "Let me know the answer to {expression}.",
        "Work this out for me: {expression}",
        "I wonder what {expression} makes.",
        "I was asked to compute {expression}.",
        "Would you happen to know what {expression} comes to?",
        "I'd like the value of {expression}.",
        "The answer to {expression} is what?",
        "How much do I get for {expression}?",
        "Can you do this sum: {expression}",
        "Please tell me how much {expression} gives.",
        "Which number is {expression}?",
        "My calculator is broken, what does {expression} give?",
        "Find me {expression}.",
        "Need the result of {expression}.",
    ),
)

NAMED = {
    "{a}+{b}": Phrasings(
        train=(
            "What is the (sum|total) of {a} and {b}?",
            "(Find|Calculate|Compute|Give me|Tell me) the (sum|total) of {a} and {b}.",
            "(Add|Sum) {a} (and|to|with) {b}.",
            "(Can|Could) you add {a} (and|to) {b} (for me|)?",
            "What do (you|I|we) get (if|when) (you|I|we) add {a} (and|to) {b}?",
            "How much (is|are) {a} and {b} (together|combined|in total|added up)?",
            "What (number|value) is {b} (more|greater|larger) than {a}?",
            "If I add {a} and {b}, what (is the total|is the sum|do I get)?",
            "{a} and {b} (together|added|in total|summed) (is|makes) how much?",
            "What (total|sum) do (I|you|we) get (from|with|for) {a} and {b}?",
            "What is the (total|outcome) (of|when) adding {a} (and|to) {b}?",
            "What is the result (if|when) (I|you) add {a} (and|to) {b}?",
            "(Sum|Add) up {a} and {b}(, please|).",
            "(Adding|Summing) {a} (and|to) {b} (gives|makes) what?",
            "{a} and {b} (make|give) what (together|in total)?",
            "What do {a} and {b} (give|come to|amount to) (together|in total|combined|added up)?",
            "{a} added to {b} (is|gives|makes) what?",
            "What (is|makes) {a} (increased|raised|enlarged) by {b}?",
            "Put {a} and {b} together, what (is it|do I have|is the total)?",
            "(Work out|Determine|Name|I need) the (sum|total) of {a} and {b}.",
        ),
        held_out=(
            "What total do {a} and {b} make?",
            "What is the result of adding {a} and {b}?",
            "Sum up {a} and {b} for me.",
        ),
    ),
    "{a}-{b}": Phrasings(
        train=(
            "(Subtract|Take away|Take|Deduct) {b} from {a}.",
            "What is the difference between {a} and {b}?",
            "(Find|Calculate|Compute|Tell me) the difference (between|of) {a} and {b}.",
            "What is {a} (reduced|decreased|lowered) by {b}?",
            "What (is left|remains) (if|when) (I|you|we) (take|subtract|take away) {b} from {a}?",
            "How much (more|larger|greater|bigger) is {a} than {b}?",
            "What (number|value) is {b} (less|smaller) than {a}?",
            "(Can|Could) you (subtract|take|deduct) {b} from {a} (for me|)?",
            "What do (you|I|we) get (if|when) (you|I|we) subtract {b} from {a}?",
            "What is the (outcome|answer) (of|when) (taking|subtracting|deducting) {b} from {a}?",
            "What is the result (if|when) (I|you) (take|subtract) {b} from {a}?",
            "(Subtracting|Taking|Deducting|Removing) {b} from {a} (gives|leaves|makes) what?",
            "By how much (is|was) {a} (greater|bigger|higher|more) than {b}?",
            "By how much (does|do) {a} (exceed|beat|top) {b}?",
            "By how much is {b} (smaller|lower|less) than {a}?",
            "How much (smaller|less|lower) is {b} than {a}?",
            "{a} take away {b} (is|makes|leaves) (what|how much)?",
            "{a} less {b} (is|makes) (what|how much)?",
            "(Remove|Strike|Take off) {b} from {a}, what (is left|stays|remains)?",
            "{a} with {b} (taken away|removed|taken off), what (is left|stays|remains)?",
            "(Work out|Determine|I need) the difference between {a} and {b}.",
            "What must I add to {b} to (get|reach) {a}?",
        ),
        held_out=(
            "What is the result of subtracting {b} from {a}?",
            "By how much is {a} larger than {b}?",
            "{a} take away {b}, what remains?",
        ),
    ),
    "{a}*{b}": Phrasings(
        train=(
            "What is the product of {a} and {b}?",
            "(Find|Calculate|Compute|Give me|Tell me) the product of {a} and {b}.",
            "(Multiply|Can you multiply|Could you multiply|Please multiply) {a} (by|and|with) {b}.",
            "What do (you|I|we) get (if|when) (you|I|we) multiply {a} (by|and|with) {b}?",
            "If I multiply {a} (by|and|with) {b}, what (is the result|comes out|do I get)?",
            "How much is {a} (lots|groups|sets) of {b}?",
            "What is the (outcome|answer) (of|when) multiplying {a} (by|with|and) {b}?",
            "What is the result (if|when) (I|you) multiply {a} (by|with) {b}?",
            "(Multiplying|Taking the product of) {a} (by|and|with) {b} (gives|makes) what?",
            "{a} multiplied (with|by) {b} (is|makes|gives) (what|how much)?",
            "{a} and {b} multiplied (is|gives) (what|how much)?",
            "{a} multiplied together with {b} (is|gives|makes) what?",
            "What do {a} and {b} (give|make) (multiplied together|multiplied|when multiplied|as a product)?",
            "(Determine|Name|I need) the product (of|from) {a} and {b} (now|quickly|, please|).",
            "Take {a} {b} times, what (is it|do I get|does that make)?",
            "What is {a} taken {b} times?",
            "{a} times the number {b} (is|makes) what?",
        ),
        held_out=(
            "What is the result of multiplying {a} by {b}?",
            "{a} and {b} multiplied together makes what?",
            "Work out the product of {a} and {b}.",
        ),
    ),
    "{a}/{b}": Phrasings(
        train=(
            "(Divide|Can you divide|Could you divide|Please divide|Split) {a} by {b}.",
            "What is the quotient of {a} and {b}?",
            "(Find|Calculate|Compute|Tell me) the quotient of {a} and {b}.",
            "What do (you|I|we) get (if|when) (you|I|we) divide {a} by {b}?",
            "How (many times|often) does {b} (go|fit) into {a}?",
            "If I divide {a} by {b}, what (is the result|comes out|do I get)?",
            "What is {a} (split|shared|divided) (into|among) {b} (equal parts|parts)?",
            "What is the (outcome|answer) (of|when) dividing {a} by {b}?",
            "What is the result (if|when) (I|you) divide {a} by {b}?",
            "(Dividing|Splitting) {a} by {b} (gives|makes) what?",
            "{a} (split|divided|shared) (into|among|between) {b} (parts|), (what is it|how much is one part|how much is each)?",
            "{a} shared (among|between) {b}, how much (is one share|is that|does each get)?",
            "How (many times|often) (can|could|may) (I|you|one) take {b} (out of|from|away from) {a}?",
            "How many times (can|could) {b} be taken (from|away from) {a}?",
            "How many times is {b} (contained in|in|part of) {a}?",
            "How often (is|does) {b} (contained in|go into|fit in|in) {a}?",
            "(Share|Cut|Break) {a} (by|into) {b}, (what is one part|how much is it|what do I get).",
            "(Work out|Determine|I need) the quotient of {a} and {b}.",
        ),
        held_out=(
            "What is the result of dividing {a} by {b}?",
            "{a} shared by {b}, how much is it?",
            "How often can {b} be taken out of {a}?",
        ),
    ),
    "{percent}% of {b}": Phrasings(
        train=(
            "What is {percent} percent of {b}?",
            "(Calculate|Compute|Find|Work out) {percent} (percent|per cent) of {b}.",
            "How much is {percent} (percent|per cent|pct) of {b}?",
            "(Take|Give me|Tell me) {percent} (percent|per cent) of {b}.",
            "If I (take|have|get) {percent} percent of {b}, (how much is that|what do I get)?",
            "What is a {percent}% (share|tip|fee|tax|commission) on {b} (dollars|euros|pounds|)?",
            "A (meal|dinner|lunch|taxi ride) costs {b} dollars. What is a {percent}% tip?",
            "What (is|makes|would be) a {percent}% (tip|share|fee) (for|on|of) (a bill of|a meal of|) {b} (dollars|)?",
            (
                "My (meal|dinner|lunch|ride|check|room) (is|was|costs) {b} (dollars|euros). (What is|How much is) a "
                "{percent}% (tip|tax|fee)?"
            ),
            "(The|Our|A) bill (is|was|says|comes to) {b} (dollars|euros|pounds). (What is|How big is) a {percent}% tip?",
            "(The|Our) bill is {b}. I (want to|will) (tip|give) {percent}%, how much is (that|it)?",
            "{percent} (percent|per cent) of {b} (is|makes|comes to|gives) (what|how much)?",
            "What (do|would|will) {percent} (percent|per cent) of {b} (make|give|amount to|equal|come to|come out at)?",
            "I earn {b} (dollars|) and pay {percent}% tax. How much (is the tax|tax is that)?",
        ),
        held_out=(
            "What does {percent} percent of {b} come to?",
            "My bill is {b} dollars. How much is a {percent}% tip?",
        ),
    ),
    "{b}-{percent}%": Phrasings(
        train=(
            "What is {percent}% off {b}?",
            "How much is {b} (dollars|euros|) (with|after) a {percent}% discount?",
            "A (coat|lamp|book|phone|game) costs {b} dollars and is {percent}% off. What (is the new price|do I pay)?",
            "What is {b} (reduced|decreased|lowered) by {percent}%?",
            "Take {percent}% off {b}.",
            "The price was {b} dollars and it dropped by {percent}%. What is it now?",
            (
                "What (does|will|would) a {b} (dollar|euro|pound) (jacket|coat|bike|lamp|bag|watch|phone) cost (with|at|"
                "after) {percent}% off?"
            ),
            "What (will|would) (I|you|we) pay for a {b} (dollar|euro) (shirt|chair|bed|game|hat) (with|after) {percent}% off?",
            "How much is a {b} (dollar|euro) (coat|chair|book) (with|after|at) {percent}% (off|discount)?",
            "How much (is|remains|stays) of {b} (after|with|if I take) {percent}% off?",
            "After taking off {percent}%, what (is left|remains) of {b}?",
            "What (is left|remains) of {b} after {percent}% (is gone|is taken off|off)?",
            "(Lower|Reduce|Cut|Decrease) {b} by {percent}%.",
            "{b} (dollars|) (less|with|after) {percent}% (discount|off), what is (the price|left|that)?",
        ),
        held_out=(
            "What do I pay for a {b} dollar jacket with {percent}% off?",
            "How much is left of {b} after taking {percent}% off?",
        ),
    ),
    "sqrt({square})": Phrasings(
        train=(
            "What (number|value) (squared|times itself) (is|gives|makes) {square}?",
            "(Find|Calculate|Compute|Give me|Tell me) the square root of {square}.",
            "What is the (square root|sqrt) of {square}?",
            "How much is the (square root|sqrt|root) of {square}?",
            "Take the (square root|sqrt) of {square}.",
            "What is the root (of|from) {square}?",
            "(What|Which) (square root|root) (has|belongs to) {square}(, tell me|)?",
            "(Work out|Determine|I need|I want|Show me) the (square root|root) (of|from) {square}.",
            "(Does {square} have a square root, and which|{square} has which square root)?",
            "The square root of {square} (is what|is how much|equals what)?",
            "What do (I|you) get (from|for|by taking) the square root of {square}?",
        ),
        held_out=("What square root does {square} have?", "Work out the square root of {square} for me."),
    ),
    "{base}**{exponent}": Phrasings(
        train=(
            "(Raise|Take) {base} to the power of {exponent}.",
            "What is {base} raised to (the power of|the power) {exponent}?",
            "What do (you|I|we) get (if|when) (you|I|we) raise {base} to the power of {exponent}?",
            "(Calculate|Compute|Find) {base} raised to the power (of|) {exponent}.",
            "What is the (outcome|value|answer) (of|when) raising {base} to the power of {exponent}?",
            "What is the result (of|for) {base} raised to the power of {exponent}?",
            "(Raising|Taking) {base} to the power of {exponent} (gives|makes) what?",
            "(Work out|Determine|I need) {base} raised to the power of {exponent}.",
        ),
        held_out=("What is the result of raising {base} to the power of {exponent}?",),
    ),
}

STORIES = {
    "{a}+{b}": Phrasings(
        train=(
            "{person} has {a} {item} and (gets|buys|finds|wins) {b} more. How many {item} does {person} have (now|)?",
            "I (have|own|count) {a} {item}. (My friend|My brother|My sister) gives me {b} more. How many do I have?",
            "There are {a} {item} in one box and {b} in another. How many (are there|{item} are there|in total)?",
            "{person} walked {a} (miles|steps|km) in the morning and {b} in the evening. How far is that in total?",
            "A class has {a} boys and {b} girls. How many (children|students|pupils) are (there|in the class)?",
            "We drove {a} (miles|km) (yesterday|on Monday) and {b} (today|on Tuesday). How far did we drive?",
            "{person} spent {a} dollars on (food|rent|gifts) and {b} dollars on {item}. How much (is that|in all)?",
            "A shop sold {a} {item} (on Monday|yesterday) and {b} (on Tuesday|today). How many did it sell?",
            "{person} scored {a} points (in|during) the first game and {b} in the second. What is the total?",
            "I read {a} pages (yesterday|on Sunday) and {b} (today|on Monday). How many pages (have I read|is that)?",
            "One bag weighs {a} (kg|pounds|grams) and the other weighs {b}. What do they weigh together?",
            "A train carries {a} people and {b} more get on. How many (people|passengers) are on (it|the train) now?",
            "The library had {a} books and bought {b} new ones. How many books does it have now?",
            "If I pay ${a} for shoes and ${b} for a bag, how much do I pay?",
            "{person} has {a} {item} and {person2} has {b}. How many do they have (together|in all|in total|altogether)?",
            (
                "I have {a} {item} and (my brother|my friend|my mother|{person}) has {b}. How many (do we have in "
                "all|are they together)?"
            ),
            (
                "(My brother|My mother|My friend|{person}) has {a} {item}, I have {b}. How many (together|in total|"
                "have we both|do we own)?"
            ),
            (
                "My (father|aunt|cousin|sister) (bought|found|collected|picked) {a} {item} and I (bought|found|"
                "picked) {b}. How many (in total|in all)?"
            ),
            (
                "{person} (picked|found|collected|made|baked) {a} {item} (yesterday|first|at first) and {b} (today|"
                "more|later). What is the (sum|total)?"
            ),
            "{person} picked {a} {item}, then {b} more. How many (in total|is that|are there now)?",
            (
                "(A|The) (farmer|shepherd|rancher) (has|owns|keeps) {a} (cows|goats|hens|pigs) and (buys|gets|"
                "adopts) {b} more. How many (now|are there)?"
            ),
            "(A farmer|My uncle|She) owns {a} (sheep|horses|ducks). {b} more are (born|bought). How many are there (now|)?",
            (
                "(I|We) paid {a} dollars for a (table|bed|lamp|coat) and {b} (dollars|) for a (sofa|rug|bag|hat). "
                "(How much|What) (in total|did it all cost)?"
            ),
            (
                "The (desk|table|sofa) was {a} dollars and the (chair|lamp|rug) {b} dollars. How much (was it in "
                "total|were both|did both cost)?"
            ),
            (
                "(In one room|On the left|In the hall) are {a} (chairs|people|{item}), (in the other|on the right|in "
                "the yard) {b}. How many in (all|total)?"
            ),
            "There were {a} {item} and {b} (more|others) (came|were added|arrived). How many (are|were) there (now|then)?",
            (
                "{person} (had|owned) {a} {item} and (bought|got|received|was given) {b} more. How many (now|are "
                "there now|does that make)?"
            ),
            "A (shop|bakery|store) had {a} {item} and (bought|got|made|ordered) {b} more. How many does it have (now|)?",
            "(First|Today) I (drove|ran|walked|biked) {a} (miles|km), then {b}. How (far|many) (in total|altogether|was it)?",
        ),
        held_out=(
            "{person} picked {a} {item} and later picked {b} more. What is the total?",
            "My sister has {a} {item} and I have {b}. How many do we have together?",
            "A farmer owns {a} sheep and buys {b} more. How many sheep does the farmer have now?",
            "I paid {a} dollars for a chair and {b} dollars for a desk. How much was that in total?",
        ),
    ),
    "{a}-{b}": Phrasings(
        train=(
            "{person} has {a} {item} and (gives away|loses|sells|uses|breaks|eats) {b}. How many are left?",
            "{person} had {a} {item} and (gave {b} to a friend|lost {b}|sold {b}). How many (are left|remain)?",
            "There (are|were) {a} {item} in (a box|a bag|the shop). {b} are (taken|sold|gone). How many remain?",
            "A book has {a} pages and I have read {b}. How many pages (are left|remain|do I still have)?",
            "I have {a} dollars and spend {b}. How (much|many dollars) do I have left?",
            "A bus has {a} (people|passengers) and {b} get off. How many are (still on it|left|on the bus now)?",
            "{person} needs {a} dollars and has saved {b}. How much (is missing|more is needed)?",
            "The trip is {a} (miles|km) long and we have done {b}. How far is it (still|to go)?",
            "Of {a} {item}, {b} are broken. How many are (fine|good|not broken)?",
            "A tank holds {a} liters and {b} liters (leak out|are used). How many liters are left?",
            "A school has {a} students and {b} are (sick|absent|away). How many are (there|at school|present)?",
            "I paid with ${a} and the bill was ${b}. How much change (do I get|should I get)?",
            "{person} is {a} years old and {person2} is {b}. How much older is {person}?",
            "The tower is {a} feet tall and the tree is {b} feet. How much taller is the tower?",
            (
                "{person} (bought|baked|picked|had) {a} {item}. {b} of them (were|are) (lost|broken|stolen|rotten|"
                "gone). How many (are left|remain|does {person} still have)?"
            ),
            (
                "(We|I) (bought|made|had) {a} {item} and {b} of them (were eaten|are gone|got lost|were bad|broke). "
                "How many (remain|are left)?"
            ),
            (
                "A (bakery|store|market|stall|library) had {a} {item} and (sold|gave away|lost|lent) {b}. How many "
                "(does it have left|are left|remain)?"
            ),
            (
                "(The|A) (shop|store|baker) has {a} {item} and sells {b} (today|this morning|now). How many (does it "
                "still have|are left|stay)?"
            ),
            "The shop had {a} {item} yesterday and {b} were sold (today|since). How many are (left|still there|there now)?",
            (
                "From (my|) {a} dollars I (spent|paid|gave away|lost) {b}. How (much|many dollars) (is left|do I "
                "still have|remains)?"
            ),
            "Of my {a} dollars, {b} are (spent|gone|used). How much (money is left|is left|do I have)?",
            "(I|We) used {b} of {a} {item}. How many are (left|unused|still there)?",
            (
                "(A|The) (theater|room|bus|plane|cinema) has {a} (seats|places) and {b} are (full|sold|used|"
                "reserved). How many (are|seats are|places are) (free|empty|open|left)?"
            ),
            "(In a hall|On the train|In the bus) {b} of {a} seats are taken. How many are (free|empty|left)?",
            "There are {a} {item}. {person} takes {b} (away|). How many (are there now|are left|stay)?",
            "A (tree|bush|shelf) had {a} {item} and {b} fell (off|down). How many (are on it|remain|are left)?",
            "{person} has {a} {item}, {person2} has {b}. How many more does {person} have?",
            (
                "I am {a} (years old|) and my (brother|sister|son) is {b}. How many years (older am I|lie between us|"
                "apart are we)?"
            ),
            "(It was|Yesterday it was) {a} degrees and (fell|dropped|went down) by {b}. How (warm|many degrees) is it now?",
        ),
        held_out=(
            "{person} bought {a} {item} and {b} of them were eaten. How many remain?",
            "A shop had {a} {item} and sold {b} today. How many does it still have?",
            "From {a} dollars I used {b}. How much money is left?",
            "A hall has {a} seats and {b} are taken. How many seats are free?",
        ),
    ),
    "{a}*{b}": Phrasings(
        train=(
            "A box holds {a} {item}. How many {item} are in {b} boxes?",
            "(A|Each|Every) (bag|crate|basket|carton) (has|contains|holds) {a} {item}. How many are in {b} of them?",
            "There are {a} (boxes|bags|shelves|rows) with {b} {item} each. How many {item} (are there|in total)?",
            "{person} buys {a} {item} for {b} dollars each. How much (is that|does it cost|does {person} pay)?",
            "One ticket costs {a} dollars. How much (do|would|will) {b} tickets cost?",
            "{person} (earns|makes|gets) {a} dollars an hour. How much is that for {b} hours?",
            "I (read|write|type) {a} pages (a day|every day|per day). How many pages is that in {b} days?",
            "A car drives {a} (miles|km) (an hour|per hour). How far does it get in {b} hours?",
            "If (one|a single) (shirt|lamp|book|cake) costs ${a}, what do {b} cost?",
            "A (hall|theater|room|plane) has {a} rows (of|with) {b} seats. How many seats (are there|does it have)?",
            "{a} (friends|people|children|workers) (each get|get|each carry) {b} {item} each. How many {item} is that?",
            "Every week {person} saves {a} dollars. How much is saved (after|in) {b} weeks?",
            "A field is {a} (meters|feet|yards) long and {b} wide. What is its area?",
            "A machine makes {a} {item} (a minute|per minute|an hour). How many does it make in {b}?",
            "I need {a} {item} for each of my {b} guests. How many (do I need|{item} is that)?",
            (
                "A (packet|tin|bundle|set) (has|holds|contains) {a} {item}. How many (are|do I have|do I get|"
                "come) (in|with|from) {b} (of them|packs|such packs)?"
            ),
            "{a} (packs|packets|bags|boxes) (with|of) {b} {item} each, how many (is that|are there|in total)?",
            "One (pack|box|bag) has {a} {item}. I (have|buy|need) {b}. How many {item} (is that|do I have)?",
            (
                "{person} (runs|swims|bikes|walks|drives) {a} (miles|km) (a day|every day|per day). How (far|many) "
                "(is that|) in {b} days?"
            ),
            (
                "{person} (eats|drinks|reads|does|sells) {a} {item} each day. How many (is that|are that) (in|after|"
                "over) {b} days?"
            ),
            (
                "(A|The) (garden|field|farm|park|orchard) has {a} rows (of|with) {b} (bushes|plants|flowers|vines) "
                "(each|). How many (are there|plants are there|in total)?"
            ),
            "There are {a} rows with {b} trees (in each|each|). How many trees (in total|are there)?",
            (
                "Each of (my|the|our) {a} (friends|guests|children|pupils) (brings|gets|eats|buys|takes) {b} {item}. "
                "How many (in total|is that|are there)?"
            ),
            (
                "Each of {a} (children|boys|girls|workers) (brings|has|carries|makes) {b} {item}. How many (is that|"
                "in all|are there together)?"
            ),
            (
                "(All|My) {a} (students|friends|cousins) (bring|have|own|get) {b} {item} each. How many {item} (in "
                "total|in all|are there)?"
            ),
            (
                "Every (student|child|guest|house) (has|gets|brings) {a} {item}. There are {b} (students|of them|in "
                "all). How many {item} (is that|are there)?"
            ),
            "(A|One) (room|night|ticket|lesson) costs {a} (dollars|euros). What (do|would) {b} (cost|come to)?",
            "We (stay|stayed) {a} nights for {b} dollars (a|per|each) night. How much (is it|do we pay|was that)?",
            "{a} {item} at {b} (dollars|cents) (each|apiece|a piece). How much (is that|is it in total|do I pay)?",
            (
                "(Each|Every) of the {a} (shelves|drawers|tables|pages) has {b} {item}. How many (are there|in all|"
                "{item} is that)?"
            ),
        ),
        held_out=(
            "A pack has {a} {item}. How many do I have in {b} packs?",
            "{person} runs {a} miles each day. How many miles is that in {b} days?",
            "A garden has {a} rows with {b} trees each. How many trees are there?",
            "Each of {a} students brings {b} {item}. How many {item} are there in total?",
        ),
    ),
    "{a}/{b}": Phrasings(
        train=(
            "{a} {item} are (shared|split|divided) (equally|evenly) among {b} people. How many does each get?",
            "{person} (splits|shares|divides) {a} {item} among {b} friends. How many does each (get|friend get)?",
            "I (put|pack|sort) {a} {item} into {b} (boxes|bags|rows) evenly. How many are in each?",
            "{a} {item} go into boxes of {b}. How many boxes (are needed|do I need|is that)?",
            "A rope of {a} (meters|feet) is cut into {b} equal pieces. How long is each (piece|)?",
            "{b} (people|friends) share a bill of {a} dollars. (How much|What) does each (pay|owe)?",
            "{b} tickets cost {a} dollars. How much is one (ticket|)?",
            "We drove {a} (miles|km) in {b} hours. What (is|was) our (average|) speed?",
            "A book has {a} pages and I read {b} a day. How many days (do I need|does it take|is that)?",
            "{person} earned {a} dollars in {b} hours. How much is that (per|an) hour?",
            "A teacher puts {a} students into groups of {b}. How many groups (are there|is that)?",
            "How many bags of {b} {item} can I fill (with|from) {a} {item}?",
            "{a} liters are poured into {b} equal tanks. How many liters are in each?",
            "If {b} {item} weigh {a} grams, how heavy is one?",
            (
                "{b} (friends|kids|pupils|sisters|workers) share {a} {item} (evenly|equally|fairly). How many (for "
                "each|does each one get|are there each)?"
            ),
            (
                "{b} (kids|boys|girls|people) (split|divide|share) {a} {item}. How many (does each get|are there for "
                "each|are that each)?"
            ),
            (
                "{a} {item} for {b} (children|kids|people), (shared evenly|all get the same|split evenly). How many "
                "(each|for each child|for one)?"
            ),
            (
                "Each of {b} (children|friends|people) gets the same (number|share) of {a} {item}. How many (is that|"
                "does one get)?"
            ),
            (
                "{a} {item} are (put|sorted|placed|tied|sold) (in|into) (boxes|packs|bundles|groups|sets) of {b}. "
                "How many (boxes|groups|sets) (are there|is that|result)?"
            ),
            (
                "(I|We|They) (pack|put|tie|sort) {a} {item} (in|into) (bags|bundles|packs|stacks) of {b}. How many "
                "(bags|bundles|stacks) (are there|are that|do we get)?"
            ),
            (
                "(Bags|Packs|Boxes|Bundles) of {b} are (made|filled|packed) from {a} {item}. How many (bags|are "
                "there|can be made)?"
            ),
            (
                "(We|I|They) (pay|paid) {a} (dollars|euros) for {b} (days|tickets|meals|rooms|lessons). How much (is|"
                "was) (one|each|it for one)?"
            ),
            "{b} nights (cost|are|were) {a} dollars. (How much|What) is (one|a|each) night?",
            (
                "A (string|wire|board|pipe|tape) of {a} (meters|feet|cm|inches) is cut into {b} (pieces|equal parts|parts). "
                "How long is (one|each|one piece)?"
            ),
            (
                "(I|We) cut a {a} (meter|inch|foot) (ribbon|rope|string) into {b} equal (parts|pieces). How long is "
                "(one|each) (part|piece|)?"
            ),
            "{person} (reads|runs|drives|walks) {a} (pages|miles|km) in {b} days. How many (is that per day|a day|each day)?",
            "A (class|team) of {a} is (split|divided) into {b} equal (groups|teams). How many are in (each|one)?",
            "(How many|Into how many) (groups|boxes|teams) of {b} (can I make from|fit|can we split) {a} {item}?",
            "{b} (cars|buses|boats) carry {a} people, all the same number. How many (are in each|per car|in one)?",
        ),
        held_out=(
            "{b} children share {a} {item} evenly. How many are there for each child?",
            "{a} {item} are packed in bags of {b}. How many bags are there?",
            "We pay {a} dollars for {b} nights. How much is one night?",
            "A ribbon of {a} inches is cut into {b} equal parts. How long is one part?",
        ),
    ),
}

PEOPLE = (
    "Anna Ben Carla David Emma Felix Grace Henry Ivy Jack Kate Liam Mia Noah Olivia Paul Quinn Rosa Sam Tara Uma "
    "Victor Wendy Xavier Yara Zoe Ahmed Bianca Chen Diego Elena Farid Hana Ingrid Jonas Kofi Lena Marco Nina Omar "
    "Priya Rahul"
)
ITEMS = (
    "apples oranges pears plums eggs books pens pencils marbles stickers coins stamps cards balls toys cups plates "
    "bottles chairs candles flowers roses cookies muffins sandwiches tickets photos shells stones buttons beads "
    "bricks nails screws potatoes tomatoes onions carrots lemons peaches bananas cherries nuts sweets postcards "
    "magazines notebooks erasers magnets batteries bulbs boxes bags socks shirts hats"
)
