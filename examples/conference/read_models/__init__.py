"""What pages show and the organiser asks: compiled from the log, each view for one question."""

from __future__ import annotations

from typing import Final

from examples.conference.read_models.conferences import ConferencePages
from examples.conference.read_models.journeys import OrderJourneys
from examples.conference.read_models.orders import DraftOrders, OrderList, PricedOrders
from examples.conference.read_models.places import OrderPlaces
from examples.conference.views import Attendees, SalesByMinute, SeatAvailability

READ_MODELS: Final = (
    ConferencePages,
    DraftOrders,
    PricedOrders,
    OrderList,
    OrderPlaces,
    OrderJourneys,
    SeatAvailability,
    Attendees,
    SalesByMinute,
)
"""All views of the application."""
