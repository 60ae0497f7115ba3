"""Two applications of frameworks from PyPI, in one server: one of Flask, one of bottle."""

from wsgiref.simple_server import make_server

import bottle
import flask

small = bottle.Bottle()


@small.route("/small/hello/<name>")
def hello(name):
    return bottle.template("Hello <b>{{name}}</b>!", name=name)


@small.post("/small/sum")
def total():
    return {"sum": sum(bottle.request.json)}


large = flask.Flask(__name__)
large.secret_key = "for tests"


@large.get("/large/hello/<name>")
def greet(name):
    return flask.render_template_string("<p>{{ name|upper }} at {{ url_for('greet', name=name) }}", name=name)


@large.post("/large/visit")
def visit():
    flask.session["visits"] = flask.session.get("visits", 0) + 1
    return flask.jsonify(visits=flask.session["visits"], form=flask.request.form)


@large.get("/large/fail")
def fail():
    raise LookupError("as asked")


def application(environ, start_response):
    chosen = small if environ["PATH_INFO"].startswith("/small/") else large
    return chosen(environ, start_response)


if __name__ == "__main__":
    with make_server("127.0.0.1", 8000, application) as server:
        server.serve_forever()
