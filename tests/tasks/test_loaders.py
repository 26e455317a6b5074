import json
import sys

import pytest

from rlprompt.core.errors import ConfigError, DataError
from rlprompt.tasks.loaders import label_names, load_split_folder, load_table
from rlprompt.tasks.records import parse_hub, read_records

TEXT = ("text",)


@pytest.fixture
def write(tmp_path):
    def _write(name, text):
        path = tmp_path / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(text.encode() if isinstance(text, str) else text)
        return path

    return _write


def texts(table):
    return [fields["text"] for fields, _ in table.rows]


def test_csv_is_read_with_standard_quoting(write):
    path = write("a.csv", 'text,label\n"one, ""two""\nthree",x\nfour,y\n')
    assert texts(load_table(path, TEXT)) == ['one, "two"\nthree', "four"]


def test_tsv_is_read_without_quoting(write):
    path = write("a.tsv", 'text\tlabel\n"open quote\tx\na\u2028b\ty\r\n')
    assert texts(load_table(path, TEXT)) == ['"open quote', "a\u2028b"]


def test_jsonl_is_read_and_whole_floats_are_whole_labels(write):
    rows = [{"text": "a", "label": 1.0}, {"text": "b", "label": 0}]
    table = load_table(write("a.jsonl", "\n".join(map(json.dumps, rows))), TEXT)
    assert [label for _, label in table.rows] == ["1", "0"]


def test_parquet_is_read(tmp_path):
    pyarrow = pytest.importorskip("pyarrow")
    import pyarrow.parquet as parquet

    path = tmp_path / "a.parquet"
    parquet.write_table(pyarrow.table({"text": ["a", "b"], "label": [0, 1]}), path)
    assert texts(load_table(path, TEXT)) == ["a", "b"]


def test_a_broken_parquet_file_is_refused(write):
    pytest.importorskip("pyarrow")
    with pytest.raises(DataError, match="no readable Parquet"):
        read_records(write("a.parquet", "no parquet"))


def test_a_byte_order_mark_is_no_part_of_the_first_column(write):
    assert read_records(write("a.csv", "\ufefftext,label\na,x\n")).columns == ("text", "label")


def test_fields_are_mapped_to_columns(write):
    path = write("a.csv", "premise,claim,gold\na,b,x\n")
    table = load_table(path, ("premise", "other"), columns={"other": "claim"}, label="gold")
    assert table.rows == (({"premise": "a", "other": "b"}, "x"),)


def test_the_only_column_beside_the_label_is_the_only_field(write):
    assert texts(load_table(write("a.tsv", "sentence\tlabel\na\t0\n"), TEXT)) == ["a"]


def test_a_missing_column_is_named_with_the_nearest_one(write):
    path = write("a.csv", "txt,label,id\na,x,1\n")
    with pytest.raises(DataError, match=r"no column 'text'. Did you mean 'txt'\?.*txt, label, id"):
        load_table(path, TEXT)
    with pytest.raises(DataError, match=r"no column 'labels'. Did you mean 'label'"):
        load_table(path, TEXT, columns={"text": "txt"}, label="labels")


def test_a_field_that_holds_the_label_is_refused(write):
    with pytest.raises(DataError, match="the LM would read the answer"):
        load_table(write("a.csv", "text,label\na,x\n"), ("text", "label"))


def test_rows_with_empty_text_are_dropped_and_counted(write):
    table = load_table(write("a.csv", "text,label\n  ,x\nNA,x\nb,y\n"), TEXT)
    assert texts(table) == ["NA", "b"]
    assert table.reports == ("Rows with empty text dropped from a.csv: 1.",)


@pytest.mark.parametrize("blank", ["", "  ", "NaN"])
def test_a_blank_label_is_an_error_that_names_the_row(write, blank):
    with pytest.raises(DataError, match=r"row 3: the label \(column 'label'\) is blank"):
        load_table(write("a.csv", f"text,label\na,x\nb,{blank}\n"), TEXT)


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("a.csv", "", "is empty"),
        ("a.csv", "text,label\n", "is empty"),
        ("a.tsv", "text\tlabel\n \tx\n", "text of all 1 rows is blank"),
        ("a.jsonl", "", "is empty"),
        ("a.jsonl", "{", "line 1: no JSON"),
        ("a.jsonl", "[1]", "line 1: not an object"),
        ("a.csv", b"text,label\n\xff\xfe,x\n", "not UTF-8"),
        ("a.csv", 'text,label\n"never closed,x\n', "check the quotes"),
        ("a.csv", "text,label\na,x,y\n", "line 2: 3 cells"),
        ("a.csv", "text,text\na,x\n", "two columns named 'text'"),
        ("a.xlsx", "", "Cannot tell what kind"),
    ],
)
def test_unusable_files_are_refused_with_the_reason(write, name, content, message):
    with pytest.raises(DataError, match=message):
        load_table(write(name, content), TEXT)


def test_a_missing_file_is_refused_with_the_nearest_name(write):
    path = write("reviews.csv", "text,label\na,x\n")
    with pytest.raises(DataError, match=r"no data file .*Did you mean 'reviews.csv'"):
        load_table(path.with_name("review.csv"), TEXT)


def test_labels_are_sorted_as_numbers_if_all_are(write):
    rows = "".join(f"t{n}\t{n}\n" for n in (10, 9, 2))
    assert label_names([load_table(write("a.tsv", f"text\tlabel\n{rows}"), TEXT)]) == (
        "2",
        "9",
        "10",
    )


def test_one_class_only_is_refused(write):
    with pytest.raises(DataError, match="have the label 'x': a task needs two"):
        label_names([load_table(write("a.csv", "text,label\na,x\nb,x\n"), TEXT)])


def test_a_label_the_task_lacks_is_refused(write):
    with pytest.raises(DataError, match=r"label 'goood'.*Did you mean 'good'"):
        load_table(write("a.csv", "text,label\na,goood\n"), TEXT).examples(("bad", "good"))


@pytest.mark.parametrize("test", ["sst/13/test.tsv", "sst/test.tsv"])
def test_a_folder_of_splits_has_its_test_set_inside_or_one_level_up(write, test):
    train = write("sst/13/train.tsv", "sentence\tlabel\na\t0\n")
    write("sst/13/dev.tsv", "sentence\tlabel\nb\t1\n")
    write(test, "sentence\tlabel\nc\t1\n")
    tables = load_split_folder(train.parent, TEXT)
    assert [texts(t) for t in (tables.train, tables.dev, tables.test)] == [["a"], ["b"], ["c"]]


def test_a_folder_without_splits_says_what_was_looked_for(write):
    inner = write("sst/13/train.tsv", "sentence\tlabel\na\t0\n").parent
    with pytest.raises(DataError, match=r"dev\.tsv, .*13.test\.tsv \(or .*sst.test\.tsv\)"):
        load_split_folder(inner, TEXT)
    with pytest.raises(DataError, match=r"Folders inside that have a train\.tsv: 13; name one"):
        load_split_folder(inner.parent, TEXT)


def test_hub_names_have_an_optional_config_and_split():
    assert parse_hub("hub:owner/name:config@test") == ("owner/name", "config", "test")
    with pytest.raises(DataError, match="names no data set"):
        parse_hub("hub:")


def test_hub_data_come_with_class_names_and_hidden_labels_are_refused(monkeypatch):
    class ClassLabel:
        names = ("negative", "positive")

    class Data(list):
        features = {"text": None, "label": ClassLabel()}  # noqa: RUF012
        column_names = ("text", "label")

    class Hub:
        @staticmethod
        def load_dataset(name, config, split):
            assert (name, config) == ("some/set", None)
            if split == "nowhere":
                raise ValueError("Unknown split")
            return Data([{"text": "a", "label": 1}, {"text": "b", "label": -(split == "test")}])

    monkeypatch.setitem(sys.modules, "datasets", Hub)
    table = load_table("hub:some/set", TEXT)
    assert [label for _, label in table.rows] == ["positive", "negative"]
    with pytest.raises(DataError, match="row 2: the label"):
        load_table("hub:some/set@test", TEXT)
    with pytest.raises(DataError, match=r"Cannot load hub:some/set@nowhere.*Unknown split"):
        load_table("hub:some/set@nowhere", TEXT)


def test_a_missing_package_says_how_to_install_it(monkeypatch, write):
    monkeypatch.setitem(sys.modules, "pyarrow", None)
    with pytest.raises(ConfigError, match="pip install pyarrow"):
        read_records(write("a.parquet", ""))
