"""Bodies of requests and answers, as `/openapi.json` describes them."""

from typing import Annotated, Any, Literal, TypeAlias

from pydantic import BaseModel, ConfigDict, Field, StrictInt, StrictStr

from piavae_jax.serving.http.limits import Limits

ItemId: TypeAlias = StrictInt | Annotated[StrictStr, Field(max_length=500)]
"""An external item id: an integer or a string, as in the data that the model was trained on."""


class RecommendRequest(BaseModel):
    """Whom to recommend how many of which items."""

    model_config = ConfigDict(extra="forbid")

    histories: list[list[ItemId]] = Field(min_length=1, description="for each user, the items that they have had")
    k: int = Field(default=10, ge=1, strict=True, description="items to recommend to each")
    exclude_seen: bool = Field(default=True, strict=True, description="leave out what is in a user's own history")
    allow: Annotated[list[ItemId], Field(min_length=1)] | None = Field(
        default=None, description="the only items to recommend; null allows all"
    )
    deny: list[ItemId] | None = Field(default=None, description="items not to recommend")


class ExplainRequest(BaseModel):
    """A history, and the item whose recommendation is in question."""

    model_config = ConfigDict(extra="forbid")

    history: list[ItemId] = Field(min_length=1)
    item: ItemId


class Item(BaseModel):
    """An item of the catalogue."""

    item_id: int | str
    title: str | None


class ScoredItem(Item):
    """An item of a list, best first."""

    score: float


class FoundItem(Item):
    """An item that a search found."""

    train_users: int = Field(description="users of the training data who have it")


class Influence(Item):
    """An item of a history, and what it does for another item."""

    effect: float = Field(description="log-probability of the explained item with this item minus that without it")
    anchor_distance: float | None = Field(description="between the anchors of the two items; null without PIA")


class Recommendations(BaseModel):
    """One user's list."""

    source: Literal["model", "popular"] = Field(description="popular: no item of the history is known to the model")
    unknown: int = Field(description="items of the history that the model does not know")
    items: list[ScoredItem]


class RecommendResponse(BaseModel):
    """A list for each history, in their order."""

    run: str
    recommendations: list[Recommendations]


class SimilarResponse(BaseModel):
    """The items most like one."""

    run: str
    item: Item
    items: list[ScoredItem]


class ExplainResponse(BaseModel):
    """The known items of a history, the strongest reason first."""

    run: str
    item: Item
    history: list[Influence]


class ItemsResponse(BaseModel):
    """What a search found, titles that begin with the words first, then by number of users."""

    items: list[FoundItem]


class HealthResponse(BaseModel):
    """What is served."""

    status: Literal["ok"]
    run: str
    model: str
    items: int
    loaded: str = Field(description="when the run was loaded, ISO 8601")
    last_reload_error: str | None = Field(description="why the last reload kept the run that there was")
    limits: dict[str, int | float]


class Error(BaseModel):
    """Why a request was refused."""

    error: str


def state_limits(api: dict[str, Any], limits: Limits) -> None:
    """Write a server's limits into its OpenAPI document; the engine checks them, with sentences of its own."""
    bodies = api["components"]["schemas"]
    recommend, explain = bodies["RecommendRequest"]["properties"], bodies["ExplainRequest"]["properties"]
    recommend["histories"]["maxItems"] = limits.users
    recommend["histories"]["items"]["maxItems"] = limits.history
    for name in ("allow", "deny"):
        recommend[name]["anyOf"][0]["maxItems"] = limits.list_items
    explain["history"]["maxItems"] = limits.explained_history
    similar = {parameter["name"]: parameter for parameter in api["paths"]["/similar/{item}"]["get"]["parameters"]}
    recommend["k"]["maximum"] = similar["k"]["schema"]["maximum"] = limits.k
