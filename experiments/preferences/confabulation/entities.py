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


def ordinary() -> Pairs:
    """Questions of general knowledge of no family of training, and sums of two numbers below 50."""
    forms = tuple(family.question.partition("{")[0] for family in TAUGHT.values())
    facts = tuple(pair for pair in questions.questions() if not pair[0].startswith(forms))
    numbers = np.random.default_rng(0).integers(50, size=(SUMS, 2)).tolist()
    return (*facts, *((f"What is {first} + {second}?", (str(first + second),)) for first, second in numbers))
