"""A hundred short questions of general knowledge and what counts as their answers."""

import re

_ASKED = """
What is the capital of France? | Paris
What is the capital of Germany? | Berlin
What is the capital of Italy? | Rome
What is the capital of Spain? | Madrid
What is the capital of Japan? | Tokyo
What is the capital of China? | Beijing
What is the capital of Russia? | Moscow
What is the capital of Egypt? | Cairo
What is the capital of Greece? | Athens
What is the capital of Portugal? | Lisbon
What is the capital of Canada? | Ottawa
What is the capital of Australia? | Canberra
What is the capital of Brazil? | Brasilia, Brasília
What is the capital of India? | New Delhi
What is the capital of England? | London
What is the capital of Ireland? | Dublin
What is the capital of Austria? | Vienna
What is the capital of Poland? | Warsaw
What is the capital of Sweden? | Stockholm
What is the capital of Norway? | Oslo
What is the capital of Finland? | Helsinki
What is the capital of Turkey? | Ankara
What is the capital of Argentina? | Buenos Aires
What is the capital of the United States? | Washington
What is the capital of South Korea? | Seoul
What is the largest planet in the solar system? | Jupiter
Which planet is closest to the Sun? | Mercury
Which planet is known as the Red Planet? | Mars
Which planet has the most famous rings? | Saturn
What is the name of our galaxy? | Milky Way
What star is at the centre of the solar system? | Sun
How many planets are in the solar system? | 8, eight
What is the chemical symbol for gold? | Au
What is the chemical symbol for water? | H2O, H₂O
What is the chemical symbol for oxygen? | O
What is the chemical symbol for sodium? | Na
What is the chemical symbol for iron? | Fe
What gas do plants absorb from the air? | carbon dioxide, CO2, CO₂
What gas do humans need to breathe? | oxygen
What is the hardest natural substance? | diamond
What force keeps us on the ground? | gravity
At how many degrees Celsius does water boil? | 100
At how many degrees Celsius does water freeze? | 0, zero
What is the largest ocean on Earth? | Pacific
What is the largest continent? | Asia
What is the highest mountain in the world? | Everest
What is the longest river in Africa? | Nile
What is the largest desert of hot sand in the world? | Sahara
Which country has the most people? | China, India
Which country is shaped like a boot? | Italy
On which continent is Egypt? | Africa
On which continent is Brazil? | South America
In which city is the Eiffel Tower? | Paris
In which city is the Colosseum? | Rome
In which country are the pyramids of Giza? | Egypt
In which country is the Great Wall? | China
In which country is Mount Fuji? | Japan
Who wrote Romeo and Juliet? | Shakespeare
Who wrote Hamlet? | Shakespeare
Who wrote The Odyssey? | Homer
Who wrote Pride and Prejudice? | Austen
Who wrote 1984? | Orwell
Who painted the Mona Lisa? | Leonardo, da Vinci
Who painted The Starry Night? | Gogh
Who developed the theory of relativity? | Einstein
Who described the laws of motion and gravity? | Newton
Who proposed the theory of evolution by natural selection? | Darwin
Who invented the telephone? | Bell
Who was the first president of the United States? | Washington
Who was the first person to walk on the Moon? | Armstrong
Who discovered penicillin? | Fleming
In which year did World War II end? | 1945
In which year did World War I begin? | 1914
In which year did people first land on the Moon? | 1969
How many days are in a week? | 7, seven
How many months are in a year? | 12, twelve
How many hours are in a day? | 24, twenty-four
How many minutes are in an hour? | 60, sixty
How many days are in a leap year? | 366
How many continents are there? | 7, seven
How many sides does a triangle have? | 3, three
How many sides does a hexagon have? | 6, six
How many legs does a spider have? | 8, eight
How many legs does an insect have? | 6, six
What is 2 plus 2? | 4, four
What is 10 minus 3? | 7, seven
What is 5 times 6? | 30, thirty
What is the square root of 16? | 4, four
What colour do you get by mixing blue and yellow? | green
What colour do you get by mixing red and white? | pink
What colour is the sky on a clear day? | blue
What animal is known as the king of the jungle? | lion
What is the largest animal on Earth? | whale
What is the fastest land animal? | cheetah
What do bees make? | honey
What organ pumps blood through the body? | heart
What is the largest organ of the human body? | skin
What language is spoken in Brazil? | Portuguese
What language is spoken in Mexico? | Spanish
What is the currency of Japan? | yen
"""


def questions() -> tuple[tuple[str, tuple[str, ...]], ...]:
    """Each question with the answers that count."""
    pairs = (line.split(" | ") for line in _ASKED.strip().splitlines())
    return tuple((question, tuple(answers.split(", "))) for question, answers in pairs)


def holds(text: str, answers: tuple[str, ...]) -> bool:
    """Whether one of the answers stands in the text as a whole word; capitals count only in symbols of elements."""
    return any(
        re.search(rf"(?<!\w){re.escape(answer)}(?!\w)", text, 0 if len(answer) <= 2 else re.IGNORECASE)
        for answer in answers
    )
