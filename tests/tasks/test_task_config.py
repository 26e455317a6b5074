import pytest

from rlprompt.core.errors import ConfigError, TemplateError
from rlprompt.tasks.config import TaskConfig

ROWS = "".join(f"sentence {i},{('neg', 'pos')[i % 2]}\n" for i in range(40))
FULL = """
name = "stars"
data = "data/reviews.csv"
template = "{text} {prompt}"
answer_prefix = ""
manual_prompts = ["It was"]
shots = 3
test_size = 5
language = "de"
[columns]
text = "sentence"
label = "stars"
[words]
neg = "bad"
pos = ["good", "great"]
"""


@pytest.fixture
def write(tmp_path):
    (tmp_path / "data").mkdir()
    (tmp_path / "data" / "reviews.csv").write_text(f"sentence,stars\n{ROWS}", encoding="utf-8")

    def _write(text):
        path = tmp_path / "task.toml"
        path.write_text(text, encoding="utf-8")
        return path

    return _write


def test_a_task_file_gives_the_task_it_describes(write):
    task = TaskConfig.load(write(FULL)).build(seed=0)
    assert (task.name, task.language, task.manual_prompts) == ("stars", "de", ("It was",))
    assert task.template.answer_prefix == ""
    assert task.verbalizer.words == (("bad",), ("good", "great"))
    assert (len(task.train), len(task.dev), len(task.test)) == (6, 6, 5)


def test_shots_can_be_set_when_the_task_is_built(write):
    assert len(TaskConfig.load(write(FULL)).build(seed=0, shots=2).train) == 4


def test_paths_start_from_the_folder_of_the_file(write, tmp_path, monkeypatch):
    path = write(FULL)
    monkeypatch.chdir("/")
    assert TaskConfig.load(path).data == str(tmp_path / "data" / "reviews.csv")


def test_hub_names_are_no_paths(write):
    assert TaskConfig.load(write('data = "hub:a/b"')).data == "hub:a/b"


def test_the_name_is_that_of_the_file_if_none_is_given(write):
    assert TaskConfig.load(write('data = "x.csv"')).name == "task"


def test_an_unknown_key_is_refused_with_the_nearest(write):
    with pytest.raises(ConfigError, match=r"unknown key 'shot'. Did you mean 'shots'\?"):
        TaskConfig.load(write('data = "x.csv"\nshot = 3'))


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ('shots = "3"', "shots = '3' must be a whole number"),
        ("shots = true", "must be a whole number"),
        ("shots = 0", "at least 1"),
        ("test_size = 0", "give 1 or more"),
        ("template = 3", "must be a text in quotes"),
        ('manual_prompts = "It was"', "must be a list of texts"),
        ('words = ["a"]', "must be a table of words"),
        ("[words]\nneg = 3", "must be a table of words"),
        ("[columns]\ntext = 3", "must be a table of texts"),
        ('[columns]\ntxt = "sentence"', r"columns names 'txt'.*Did you mean 'text'"),
        ('folder = "a"', "either data .* or folder"),
        ("= 3", "is no TOML file"),
    ],
)
def test_wrong_values_are_refused_with_what_is_right(write, line, message):
    with pytest.raises(ConfigError, match=message):
        TaskConfig.load(write(f'data = "x.csv"\n{line}'))


def test_neither_data_nor_folder_is_refused(write):
    with pytest.raises(ConfigError, match="needs either data"):
        TaskConfig.load(write("shots = 3"))


def test_a_folder_with_a_test_file_is_refused(write):
    with pytest.raises(ConfigError, match="leave out folder or test"):
        TaskConfig.load(write('folder = "a"\ntest = "b.csv"'))


def test_a_template_without_prompt_is_refused_when_the_file_is_read(write):
    with pytest.raises(TemplateError, match=r"has no .prompt., where the learned prompt goes"):
        TaskConfig.load(write('data = "x.csv"\ntemplate = "{text}"'))


def test_a_missing_file_is_refused(tmp_path):
    with pytest.raises(ConfigError, match="Cannot read"):
        TaskConfig.load(tmp_path / "none.toml")
