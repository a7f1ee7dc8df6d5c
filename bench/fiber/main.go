// A gateway as one would write it in Go, to compare the creation paths with: Fiber, go-redis and
// nothing on disk.
//
// For each creation it asks whether the application and the chat are known (SISMEMBER), takes a
// number (INCR) and puts the payload into a list (RPUSH), from where a worker would store it. A
// number is not on disk when it is answered; a crash between INCR and RPUSH leaves a gap; a client
// that repeats a request creates twice.
//
// Environment: REDIS_URL, NUMBERING_PORT. `GET /health/live` tells when it listens.
package main

import (
	"encoding/json"
	"log"
	"net"
	"os"
	"strconv"

	"github.com/gofiber/fiber/v3"
	"github.com/redis/go-redis/v9"
)

const (
	applications = "gateway:applications"
	queue        = "gateway:queue"
)

type gateway struct {
	redis *redis.Client
}

type message struct {
	Body string `json:"body"`
}

type created struct {
	Number      int64  `json:"number"`
	ChatNumber  int64  `json:"chat_number,omitempty"`
	AccessToken string `json:"access_token"`
}

// What a worker would take from the queue.
type payload struct {
	created
	Body string `json:"body,omitempty"`
}

func chatsOf(token string) string {
	return "gateway:chats:" + token
}

func (g *gateway) createChat(c fiber.Ctx) error {
	token := c.Params("token")
	known, err := g.redis.SIsMember(c.Context(), applications, token).Result()
	if err != nil {
		return fiber.ErrServiceUnavailable
	}
	if !known {
		return fiber.ErrNotFound
	}
	number, err := g.redis.Incr(c.Context(), "gateway:number:"+token).Result()
	if err != nil {
		return fiber.ErrServiceUnavailable
	}
	if err := g.redis.SAdd(c.Context(), chatsOf(token), number).Err(); err != nil {
		return fiber.ErrServiceUnavailable
	}
	return g.accept(c, payload{created: created{Number: number, AccessToken: token}})
}

func (g *gateway) createMessage(c fiber.Ctx) error {
	token := c.Params("token")
	chat, err := strconv.ParseInt(c.Params("chat"), 10, 64)
	if err != nil {
		return fiber.ErrNotFound
	}
	var sent message
	if err := json.Unmarshal(c.Body(), &sent); err != nil {
		return fiber.ErrBadRequest
	}
	if sent.Body == "" {
		return fiber.ErrUnprocessableEntity
	}
	for _, look := range []struct{ set, member string }{
		{applications, token}, {chatsOf(token), c.Params("chat")},
	} {
		known, err := g.redis.SIsMember(c.Context(), look.set, look.member).Result()
		if err != nil {
			return fiber.ErrServiceUnavailable
		}
		if !known {
			return fiber.ErrNotFound
		}
	}
	number, err := g.redis.Incr(c.Context(), "gateway:number:"+token+":"+c.Params("chat")).Result()
	if err != nil {
		return fiber.ErrServiceUnavailable
	}
	made := created{Number: number, ChatNumber: chat, AccessToken: token}
	return g.accept(c, payload{created: made, Body: sent.Body})
}

func (g *gateway) accept(c fiber.Ctx, accepted payload) error {
	text, err := json.Marshal(accepted)
	if err != nil {
		return err
	}
	if err := g.redis.RPush(c.Context(), queue, text).Err(); err != nil {
		return fiber.ErrServiceUnavailable
	}
	return c.Status(fiber.StatusCreated).JSON(accepted.created)
}

func main() {
	options, err := redis.ParseURL(os.Getenv("REDIS_URL"))
	if err != nil {
		log.Fatal(err)
	}
	g := &gateway{redis: redis.NewClient(options)}
	app := fiber.New()
	app.Get("/health/live", func(c fiber.Ctx) error { return c.SendString("ok") })
	app.Post("/applications/:token/chats", g.createChat)
	app.Post("/applications/:token/chats/:chat/messages", g.createMessage)
	address := net.JoinHostPort("127.0.0.1", os.Getenv("NUMBERING_PORT"))
	log.Fatal(app.Listen(address, fiber.ListenConfig{DisableStartupMessage: true}))
}
