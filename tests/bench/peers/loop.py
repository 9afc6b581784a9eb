"""The ten-call loop in LangGraph, for `cargo xtask bench --peers`.

Each line on standard input is `sync N` or `async N`: N sessions of ten calls with that durability. The answer
is a line of JSON with the seconds they took. The model is a function, as ours is a script: what is measured is
the loop and its checkpoints.
"""

import json
import sqlite3
import sys
import time
import uuid

from langchain_core.messages import AIMessage
from langchain_core.tools import tool
from langgraph.checkpoint.sqlite import SqliteSaver
from langgraph.graph import END, START, MessagesState, StateGraph
from langgraph.prebuilt import ToolNode

CALLS = 10


@tool
def greet(name: str) -> str:
    """Greets somebody by name."""
    return f"Hello, {name}!"


def model(state: MessagesState):
    """Wants ten calls one after the other, then answers."""
    made = sum(message.type == "tool" for message in state["messages"])
    if made == CALLS:
        return {"messages": [AIMessage("done")]}
    call = {"name": "greet", "args": {"name": "Ann"}, "id": f"call-{made}", "type": "tool_call"}
    return {"messages": [AIMessage("", tool_calls=[call])]}


def after(state: MessagesState):
    return "tools" if state["messages"][-1].tool_calls else END


def main(path):
    connection = sqlite3.connect(path, check_same_thread=False)
    graph = StateGraph(MessagesState)
    graph.add_node("model", model)
    graph.add_node("tools", ToolNode([greet]))
    graph.add_edge(START, "model")
    graph.add_conditional_edges("model", after, ["tools", END])
    graph.add_edge("tools", "model")
    saver = SqliteSaver(connection)
    saver.setup()
    agent = graph.compile(checkpointer=saver)
    settings = {
        name: connection.execute(f"pragma {name}").fetchone()[0]
        for name in ("journal_mode", "synchronous")
    }
    print(json.dumps(settings), flush=True)
    for line in sys.stdin:
        durability, count = line.split()
        began = time.perf_counter()
        for _ in range(int(count)):
            config = {"configurable": {"thread_id": uuid.uuid4().hex}, "recursion_limit": 50}
            said = {"messages": [("user", "Go.")]}
            ended = agent.invoke(said, config, durability=durability)
            assert ended["messages"][-1].content == "done"
        print(json.dumps({"seconds": time.perf_counter() - began}), flush=True)
    connection.execute("pragma wal_checkpoint(truncate)")
    connection.close()


main(sys.argv[1])
