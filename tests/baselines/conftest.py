import pytest
from baseline_data import communities_dataset


@pytest.fixture(scope="session")
def communities():
    return communities_dataset()
