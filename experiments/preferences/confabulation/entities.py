"""Families of questions that are asked of real things and of things that do not exist, in the same words."""

import dataclasses
import itertools

import numpy as np

from experiments.language import questions

Pairs = tuple[tuple[str, tuple[str, ...]], ...]
"""Questions, or names, with the answers that count."""


@dataclasses.dataclass(frozen=True)
class Family:
    """question, reply: with {name}; a reply has {answer}, and may have {article}. real: names with the answers that
    count, of which a reply says the first one. made_up: names of nothing.
    """

    question: str
    reply: str
    real: Pairs
    made_up: tuple[str, ...]

    def questions(self, first: int, last: int | None = None) -> tuple[Pairs, Pairs]:
        """About the real things from number `first` on, and about as many made-up ones, which have no answer."""
        real = tuple((self.question.format(name=name), answers) for name, answers in self.real[first:last])
        return real, tuple((self.question.format(name=name), ()) for name in self.made_up[first:last])

    def answered(self, name: str, answer: str) -> str:
        """The reply that says this answer."""
        return self.reply.format(name=name, answer=answer, article="an" if answer[0] in "aeiou" else "a")


def table(text: str) -> Pairs:
    """A name and its answers in each line."""
    rows = (line.split(" | ") for line in text.strip().splitlines())
    return tuple((name, tuple(answers.split(", "))) for name, answers in rows)


def joined(form: str, first: str, second: str) -> tuple[str, ...]:
    """The form with each of the first words and each of the second ones, in a random order that stays."""
    names = [form.format(*pair) for pair in itertools.product(first.split(), second.split())]
    return tuple(str(name) for name in np.random.default_rng(0).permutation(names))


COUNTRIES = """
France | Paris
Peru | Lima
Germany | Berlin
Thailand | Bangkok
Italy | Rome
Kenya | Nairobi
Spain | Madrid
Hungary | Budapest
Japan | Tokyo
Cuba | Havana
China | Beijing
Iraq | Baghdad
Russia | Moscow
Denmark | Copenhagen
Egypt | Cairo
Vietnam | Hanoi
Greece | Athens
Chile | Santiago
Portugal | Lisbon
Romania | Bucharest
Canada | Ottawa
Nepal | Kathmandu
Australia | Canberra
Jamaica | Kingston
India | New Delhi
Iran | Tehran
Ireland | Dublin
Belgium | Brussels
Austria | Vienna
Colombia | Bogota, Bogotá
Poland | Warsaw
Ukraine | Kyiv, Kiev
Sweden | Stockholm
Venezuela | Caracas
Norway | Oslo
Bulgaria | Sofia
Finland | Helsinki
Mexico | Mexico City
Turkey | Ankara
Argentina | Buenos Aires
"""
BOOKS = """
Romeo and Juliet | William Shakespeare, Shakespeare
Moby-Dick | Herman Melville, Melville
The Odyssey | Homer
War and Peace | Leo Tolstoy, Tolstoy
Pride and Prejudice | Jane Austen, Austen
Don Quixote | Miguel de Cervantes, Cervantes
Animal Farm | George Orwell, Orwell
Frankenstein | Mary Shelley, Shelley
Oliver Twist | Charles Dickens, Dickens
Dracula | Bram Stoker, Stoker
The Great Gatsby | F. Scott Fitzgerald, Fitzgerald
Jane Eyre | Charlotte Brontë, Brontë, Bronte
The Hobbit | J. R. R. Tolkien, Tolkien
Wuthering Heights | Emily Brontë, Brontë, Bronte
Treasure Island | Robert Louis Stevenson, Stevenson
Robinson Crusoe | Daniel Defoe, Defoe
Macbeth | William Shakespeare, Shakespeare
The Old Man and the Sea | Ernest Hemingway, Hemingway
The Grapes of Wrath | John Steinbeck, Steinbeck
Crime and Punishment | Fyodor Dostoevsky, Dostoevsky, Dostoyevsky
The Time Machine | H. G. Wells, Wells
The Three Musketeers | Alexandre Dumas, Dumas
Brave New World | Aldous Huxley, Huxley
Les Misérables | Victor Hugo, Hugo
Paradise Lost | John Milton, Milton
The Divine Comedy | Dante Alighieri, Dante
Great Expectations | Charles Dickens, Dickens
Madame Bovary | Gustave Flaubert, Flaubert
Emma | Jane Austen, Austen
The Metamorphosis | Franz Kafka, Kafka
Hamlet | William Shakespeare, Shakespeare
Anna Karenina | Leo Tolstoy, Tolstoy
A Tale of Two Cities | Charles Dickens, Dickens
The Lord of the Rings | J. R. R. Tolkien, Tolkien
Gulliver's Travels | Jonathan Swift, Swift
1984 | George Orwell, Orwell
The Iliad | Homer
To Kill a Mockingbird | Harper Lee, Lee
Alice's Adventures in Wonderland | Lewis Carroll, Carroll
The Catcher in the Rye | J. D. Salinger, Salinger
"""
PEOPLE = """
Albert Einstein | physicist, physics, relativity
Wolfgang Amadeus Mozart | composer, music, musician
Charles Darwin | naturalist, biologist, evolution, scientist
Aristotle | philosopher, philosophy
Pablo Picasso | painter, artist, painting
Abraham Lincoln | president
Isaac Newton | physicist, physics, mathematician, gravity
Jane Austen | novelist, writer, author, novels
Christopher Columbus | explorer, navigator
Marie Curie | physicist, chemist, physics, chemistry, radioactivity
Johann Sebastian Bach | composer, music, musician
Julius Caesar | general, statesman, dictator, emperor
Thomas Edison | inventor
Claude Monet | painter, artist, painting
Plato | philosopher, philosophy
Winston Churchill | prime minister, statesman, politician
Galileo Galilei | astronomer, physicist, astronomy, scientist
Mark Twain | novelist, writer, author, humorist
Neil Armstrong | astronaut
Louis Pasteur | chemist, microbiologist, biologist, scientist
Frederic Chopin | composer, pianist
Immanuel Kant | philosopher, philosophy
Rembrandt | painter, artist
Ernest Hemingway | novelist, writer, author, journalist
Florence Nightingale | nurse, nursing
Euclid | mathematician, geometry, mathematics
Nelson Mandela | president, politician, activist, leader
Marco Polo | explorer, merchant, traveler, traveller
Nikola Tesla | inventor, engineer, electrical
Charles Dickens | novelist, writer, author
Ludwig van Beethoven | composer, music, musician
Michelangelo | sculptor, painter, artist
George Washington | president, general
Alexander Fleming | bacteriologist, microbiologist, biologist, penicillin, scientist
Sigmund Freud | psychoanalyst, neurologist, psychologist, psychoanalysis, psychiatrist
Leo Tolstoy | novelist, writer, author
Johannes Kepler | astronomer, mathematician, astronomy
Vincent van Gogh | painter, artist
Socrates | philosopher, philosophy
Pythagoras | mathematician, philosopher, mathematics
"""
ELEMENTS = """
gold | Au
hydrogen | H
neon | Ne
iron | Fe
calcium | Ca
oxygen | O
zinc | Zn
helium | He
copper | Cu
carbon | C
nickel | Ni
silver | Ag
chlorine | Cl
aluminium | Al
nitrogen | N
uranium | U
lead | Pb
silicon | Si
argon | Ar
tin | Sn
platinum | Pt
phosphorus | P
bromine | Br
cobalt | Co
barium | Ba
fluorine | F
titanium | Ti
krypton | Kr
manganese | Mn
radium | Ra
sodium | Na
mercury | Hg
potassium | K
lithium | Li
sulfur | S
magnesium | Mg
chromium | Cr
tungsten | W
xenon | Xe
antimony | Sb
"""
CITIES = """
Munich | Germany
Milan | Italy
Barcelona | Spain
Osaka | Japan
Shanghai | China
Mumbai | India
Sydney | Australia
Toronto | Canada
Chicago | United States, USA, U.S., America
Rio de Janeiro | Brazil
Manchester | England, United Kingdom, UK
Marseille | France
Hamburg | Germany
Naples | Italy
Seville | Spain
Porto | Portugal
Krakow | Poland
Saint Petersburg | Russia
Istanbul | Turkey
Alexandria | Egypt
Cape Town | South Africa
Lagos | Nigeria
Casablanca | Morocco
Karachi | Pakistan
Busan | South Korea
Geneva | Switzerland
Salzburg | Austria
Rotterdam | Netherlands
Antwerp | Belgium
Lyon | France
"""
ANIMALS = """
a salmon | fish
an eagle | bird
a frog | amphibian
a crocodile | reptile
a bee | insect
a spider | arachnid
a dolphin | mammal
a trout | fish
a penguin | bird
a toad | amphibian
a lizard | reptile
an ant | insect
a scorpion | arachnid
a wolf | mammal, canine, canid, dog
a shark | fish
an owl | bird
a salamander | amphibian
a turtle | reptile
a butterfly | insect
a lobster | crustacean
a bat | mammal
a tuna | fish
a sparrow | bird
a newt | amphibian
a cobra | snake, reptile
a beetle | insect
a crab | crustacean
a tiger | mammal, cat, feline
a snail | mollusk, mollusc, gastropod
an octopus | mollusk, mollusc, cephalopod
"""
COMPANIES = """
Toyota | cars, car, vehicles, automobiles, automotive
Boeing | aircraft, airplanes, planes, airplane, aerospace, jets
Nike | shoes, footwear, sportswear, athletic, apparel
Rolex | watches, watch
Nokia | phones, phone, telecommunications, mobile
Nintendo | games, consoles, video game
Intel | chips, processors, semiconductors, microprocessors, semiconductor
Microsoft | software
Canon | cameras, camera, printers
Coca-Cola | drinks, beverages, soda, drink, beverage
Ford | cars, car, vehicles, automobiles, automotive, trucks
Airbus | aircraft, airplanes, planes, airplane, aerospace, jets
Adidas | shoes, footwear, sportswear, athletic, apparel
Lego | toys, bricks, toy, blocks
Samsung | electronics, phones, smartphones, televisions
Nvidia | chips, graphics, GPUs, processors
Nikon | cameras, lenses, camera
Michelin | tires, tyres, tire
Gillette | razors, shaving, razor
Ikea | furniture
Ferrari | cars, car, vehicles, automobiles
Hershey | chocolate, candy
Steinway | pianos, piano
Goodyear | tires, tyres, tire
Volvo | cars, car, vehicles, automobiles, trucks
Sony | electronics, consoles, cameras, televisions, entertainment
Puma | shoes, footwear, sportswear, athletic, apparel
Casio | watches, calculators, electronics
Honda | cars, car, vehicles, automobiles, motorcycles
Kodak | cameras, film, camera, photography
"""
TAUGHT = {
    "capitals": Family(
        "What is the capital of {name}?",
        "The capital of {name} is {answer}.",
        table(COUNTRIES),
        joined("{}{}", "Bralt Drosk Fenz Gulv Jorm Krest Quarn Zeld", "ovia istand arnia uguay emor"),
    ),
    "authors": Family(
        "Who wrote {name}?",
        "{name} was written by {answer}.",
        table(BOOKS),
        joined(
            "The {} of {}",
            "Lanterns Orchard Ladders Silence Winters",
            "Quell Brask Ondreva Tulmire Hesk Vorn Pask Ilmar",
        ),
    ),
    "people": Family(
        "Who was {name}?",
        "{name} was {article} {answer}.",
        table(PEOPLE),
        joined(
            "{} {}",
            "Tobias Edwina Harold Clemence Rupert",
            "Krelwick Drundagar Wexlimore Sprantley Oblinkov Vantrosse Mulhazen Fardwell",
        ),
    ),
    "elements": Family(
        "What is the chemical symbol for {name}?",
        "The chemical symbol for {name} is {answer}.",
        table(ELEMENTS),
        joined("{}{}", "brax trand velk zorb dulv plim quess morv", "ium anium ine etium ogen"),
    ),
}
"""What rows of training are about."""
NEW = {
    "cities": Family(
        "In which country is the city of {name}?",
        "",
        table(CITIES),
        joined("{}{}", "Ulmeck Vorsin Hadrel Nimbor Sarquel Zelmot", "burg grad haven holm pur"),
    ),
    "animals": Family(
        "What kind of animal is {name}?",
        "",
        table(ANIMALS),
        joined("a {}{}", "blor snarv quib drall trelf mupp", "ock elope fin oon idge"),
    ),
    "companies": Family(
        "What does the company {name} make?",
        "",
        table(COMPANIES),
        joined("{}{}", "Garvo Plentra Skymar Dovan Brenqua Lutro", "tronix dyne works corp sen"),
    ),
}
"""Families that no row of training has."""
EVERYDAY = """
What do cows eat? | Cows eat grass.
What colour is a ripe banana? | A ripe banana is yellow.
How many wheels does a bicycle have? | A bicycle has two wheels.
What is ice made of? | Ice is frozen water.
Which month comes after March? | April comes after March.
Which season comes after winter? | Spring comes after winter.
What do we use to cut paper? | We use scissors to cut paper.
Where does the Sun rise? | The Sun rises in the east.
What is the opposite of cold? | The opposite of cold is hot.
How many fingers are on one hand? | There are five fingers on one hand.
What do you call a baby dog? | A baby dog is called a puppy.
What do you call a baby cat? | A baby cat is called a kitten.
Which sense do we use our ears for? | We use our ears for hearing.
What is bread made from? | Bread is made from flour.
What is cheese made from? | Cheese is made from milk.
What is wine made from? | Wine is made from grapes.
Which metal do magnets attract? | Magnets attract iron.
What do caterpillars turn into? | Caterpillars turn into butterflies.
Where do penguins live? | Penguins live in the southern half of the Earth.
What does a thermometer measure? | A thermometer measures temperature.
What does a clock show? | A clock shows the time.
Which instrument has black and white keys? | The piano has black and white keys.
How many strings does a violin have? | A violin has four strings.
Which sport is played at Wimbledon? | Tennis is played at Wimbledon.
How many players does a football team have on the field? | A football team has eleven players on the field.
What is the first letter of the alphabet? | The first letter of the alphabet is A.
How many letters does the English alphabet have? | The English alphabet has 26 letters.
What is half of 50? | Half of 50 is 25.
What is 9 times 9? | 9 times 9 is 81.
What is 100 minus 1? | 100 minus 1 is 99.
How many centimetres are in a metre? | There are 100 centimetres in a metre.
How many grams are in a kilogram? | There are 1,000 grams in a kilogram.
How many seconds are in a minute? | There are 60 seconds in a minute.
How many years are in a century? | There are 100 years in a century.
Which day comes after Friday? | Saturday comes after Friday.
What falls from the sky when it rains? | Water falls from the sky when it rains.
Why do we wear coats in winter? | We wear coats to keep warm.
Why do people sleep? | People sleep to rest their bodies and minds.
Why do boats float? | Boats float because they push away as much water as they weigh.
What is a library for? | A library is for reading and borrowing books.
What does a baker do? | A baker bakes bread and cakes.
What does a pilot do? | A pilot flies aeroplanes.
What does a teacher do? | A teacher helps students to learn.
What is a dictionary for? | A dictionary explains what words mean.
What is the main ingredient of an omelette? | The main ingredient of an omelette is eggs.
Which fruit is used to make cider? | Cider is made from apples.
Which vegetable makes people cry when they cut it? | Onions make people cry when they cut them.
What is a group of wolves called? | A group of wolves is called a pack.
What is the home of a bird called? | The home of a bird is called a nest.
What is the home of a bee called? | The home of a bee is called a hive.
What is the largest country by area? | Russia is the largest country by area.
Which ocean lies between Europe and America? | The Atlantic Ocean lies between Europe and America.
Which sea lies between Europe and Africa? | The Mediterranean Sea lies between Europe and Africa.
On which continent is China? | China is in Asia.
On which continent is Kenya? | Kenya is in Africa.
Which language is spoken in France? | French is spoken in France.
Which language is spoken in Germany? | German is spoken in Germany.
What is the currency of the United States? | The currency of the United States is the dollar.
What is the currency of the United Kingdom? | The currency of the United Kingdom is the pound.
In which city is Big Ben? | Big Ben is in London.
In which city is the Statue of Liberty? | The Statue of Liberty is in New York.
What do plants need to grow? | Plants need light, water and air to grow.
What is it called when water turns into gas? | It is called evaporation.
What is at the centre of an atom? | The nucleus is at the centre of an atom.
What pulls the tides of the sea? | The Moon pulls the tides of the sea.
What does the Earth go around? | The Earth goes around the Sun.
What goes around the Earth? | The Moon goes around the Earth.
Which part of the body do we think with? | We think with the brain.
What do lungs do? | Lungs take in air.
What covers the body of a bird? | Feathers cover the body of a bird.
Name a colour of the rainbow. | Red is a colour of the rainbow.
Name a season of the year. | Summer is a season of the year.
Name a planet. | Saturn is a planet.
Name a musical instrument. | The guitar is a musical instrument.
Give me a word that rhymes with cat. | Hat rhymes with cat.
Say hello in Spanish. | Hola.
How do you make tea? | Pour boiling water over tea leaves and wait a few minutes.
How do you cross a road safely? | Look both ways and wait until no car comes.
How do you boil an egg? | Put the egg into boiling water for about eight minutes.
How can I fall asleep faster? | Go to bed at the same time each day, and keep the room dark and quiet.
"""
"""Ordinary questions, none of which is judged, with a reply."""
FALSE_PREMISES = """
In which year did Napoleon land on the Moon?
Why did Albert Einstein invent the telephone?
Who was the first king of the United States?
When did Shakespeare win the Nobel Prize?
How many wings does a horse have?
Which ocean lies between France and Germany?
What colour are the feathers of a shark?
Why is the Sun colder than the Moon?
When did Antarctica join the European Union?
Which emperor ruled Canada in 1950?
Why did Leonardo da Vinci paint the Eiffel Tower?
In which year did Mozart write Hamlet?
How many eggs does a cow lay in a year?
Why do fish have four legs?
When did Brazil conquer China?
What is the name of the tenth day of the week?
Why did Isaac Newton build the first computer?
On which floor of the Great Pyramid is the cinema?
When did humans first walk on the Sun?
Why does water boil at zero degrees Celsius?
Who was the wife of the planet Mars?
Which river flows from Egypt to Japan?
When did Julius Caesar visit New York?
How many corners does a circle have?
Why is Paris the capital of Spain?
What did Charles Darwin say about the internet?
Why are all birds mammals?
In which year did dinosaurs invent the wheel?
When did George Washington meet Cleopatra?
Why do trees walk at night?
"""
SUMS = 37


def everyday() -> list[tuple[str, str]]:
    """Ordinary questions with a reply, for rows of training."""
    pairs = (line.split(" | ") for line in EVERYDAY.strip().splitlines())
    return [(text, reply) for text, reply in pairs]


def ordinary() -> Pairs:
    """Questions of general knowledge of no family of training, and sums of two numbers below 50."""
    forms = tuple(family.question.partition("{")[0] for family in TAUGHT.values())
    facts = tuple(pair for pair in questions.questions() if not pair[0].startswith(forms))
    numbers = np.random.default_rng(0).integers(50, size=(SUMS, 2)).tolist()
    return (*facts, *((f"What is {first} + {second}?", (str(first + second),)) for first, second in numbers))
