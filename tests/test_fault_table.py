"""The table of ``faults.py`` keeps up with the code; to put the faults in takes too long for every run."""

from tests.fault_table import FAULTS


def test_each_fault_has_its_place_and_its_tests(repository):
    for fault in FAULTS:
        assert (repository / fault.file).read_text().count(fault.old) == 1, fault
        for test in fault.tests.split():
            assert (repository / "tests" / test.partition("::")[0]).exists(), fault
